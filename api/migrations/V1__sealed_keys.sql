-- The keys of sealed fields, each wrapped by the one above it: master key (a file) > tenant > subject.
--
-- This is the one table that replay cannot rebuild. It is backed up, and its backups are kept no longer than a person may have to wait
-- to be forgotten: an erased key comes back with an old backup, and only with that.
CREATE TABLE sealed_keys (
    tenant     uuid        NOT NULL,
    kind       text        NOT NULL CHECK (kind IN ('tenant', 'person', 'intent')),
    subject    uuid        NOT NULL,
    wrapped    bytea       CHECK (octet_length(wrapped) = 60),
    wrapped_by bytea       NOT NULL CHECK (octet_length(wrapped_by) = 8),
    created    timestamptz NOT NULL DEFAULT now(),
    erased     timestamptz,
    PRIMARY KEY (tenant, kind, subject),
    CHECK (kind <> 'tenant' OR subject = tenant),
    -- An erased row stays: it is what refuses to make another key for the same subject.
    CHECK ((wrapped IS NULL) = (erased IS NOT NULL))
);
