-- Which processes have said lately that they run, and the highest event format that each reads.
CREATE TABLE running_roles (
    process  uuid        PRIMARY KEY,
    role     text        NOT NULL,
    reads    integer     NOT NULL,
    reported timestamptz NOT NULL DEFAULT now()
);
