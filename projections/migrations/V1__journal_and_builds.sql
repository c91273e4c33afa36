-- Which journal the rows of this database were folded from. A role that finds another one on the broker refuses to start.
CREATE TABLE journal_identity (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    journal    uuid    NOT NULL,
    generation integer NOT NULL,
    partitions integer NOT NULL
);

-- One row a set of tables that holds a read model. `current` is the one that answers.
CREATE TABLE read_model_builds (
    model      text        NOT NULL,
    version    integer     NOT NULL,
    build      integer     NOT NULL,
    current    boolean     NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model, version, build)
);
CREATE UNIQUE INDEX read_model_builds_current ON read_model_builds (model, version) WHERE current;

-- How far a build has read each partition: the reader's whole state, moved in the transaction that writes the rows.
CREATE TABLE read_model_checkpoints (
    model           text    NOT NULL,
    version         integer NOT NULL,
    build           integer NOT NULL,
    partition       integer NOT NULL,
    generation      integer NOT NULL,
    seq             bigint  NOT NULL,
    reader          jsonb   NOT NULL,
    -- The first seq whose event this program did not know; from there on the rows may lack something.
    incomplete_from bigint,
    PRIMARY KEY (model, version, build, partition),
    FOREIGN KEY (model, version, build) REFERENCES read_model_builds ON DELETE CASCADE
) WITH (fillfactor = 50);
