"""The first ledger: runs, attempts, batches, checkpoints, quarantine, contracts, drift, backfills, and views over them."""

from alembic import op

revision = "0001"
down_revision = None

COUNTS = ("landed", "derived", "inserted", "updated", "unchanged", "duplicate", "filtered", "quarantined", "deleted", "warned")
COUNT_COLUMNS = ",\n    ".join(f"{name} bigint NOT NULL DEFAULT 0" for name in COUNTS)
BALANCE = "landed + derived = inserted + updated + unchanged + duplicate + filtered + quarantined"

TABLES = f"""
CREATE TABLE ledger.contract (
    pipeline text NOT NULL,
    version integer NOT NULL,
    digest text NOT NULL,
    wording jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, version),
    UNIQUE (pipeline, digest)
);
CREATE TABLE ledger.run (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    partition text NOT NULL DEFAULT '',
    kind text NOT NULL CHECK (kind IN ('incremental', 'interval', 'full_refresh', 'limited')),
    parameters jsonb NOT NULL DEFAULT '{{}}',
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'completed', 'failed', 'crashed', 'abandoned')),
    source text NOT NULL,
    destination text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    attempts integer NOT NULL DEFAULT 1,
    cursor_from jsonb,
    cursor_to jsonb,
    read_to jsonb,
    {COUNT_COLUMNS},
    bytes bigint NOT NULL DEFAULT 0,
    calls bigint NOT NULL DEFAULT 0,
    seconds jsonb NOT NULL DEFAULT '{{}}',
    digest text,
    rows_before bigint,
    versions jsonb NOT NULL DEFAULT '{{}}',
    alerts jsonb NOT NULL DEFAULT '[]',
    failure jsonb,
    flow_run_id text,
    CONSTRAINT conservation CHECK (state <> 'completed' OR {BALANCE})
);
CREATE INDEX run_by_pipeline ON ledger.run (pipeline, id DESC);
CREATE TABLE ledger.attempt (
    run_id integer NOT NULL REFERENCES ledger.run,
    number integer NOT NULL,
    flow_run_id text,
    host text NOT NULL,
    pid integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    outcome text NOT NULL DEFAULT 'running',
    batches_landed integer NOT NULL DEFAULT 0,
    error text,
    PRIMARY KEY (run_id, number)
);
CREATE TABLE ledger.batch (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id integer NOT NULL REFERENCES ledger.run,
    pipeline text NOT NULL,
    seq integer NOT NULL,
    state text NOT NULL DEFAULT 'landed' CHECK (state IN ('landed', 'loaded', 'discarded')),
    uri text NOT NULL,
    origin text NOT NULL,
    bytes bigint NOT NULL,
    digest text NOT NULL,
    position jsonb NOT NULL,
    landed_at timestamptz NOT NULL DEFAULT now(),
    loaded_at timestamptz,
    contract_version integer,
    pipeline_version text,
    attempt integer NOT NULL,
    {COUNT_COLUMNS},
    seconds jsonb NOT NULL DEFAULT '{{}}',
    UNIQUE (run_id, seq),
    CONSTRAINT conservation CHECK (state <> 'loaded' OR {BALANCE})
);
CREATE TABLE ledger.violation (
    batch_id integer NOT NULL REFERENCES ledger.batch,
    column_name text,
    rule text NOT NULL,
    severity text NOT NULL,
    rows bigint NOT NULL,
    sample text
);
CREATE INDEX violation_by_batch ON ledger.violation (batch_id);
CREATE TABLE ledger.quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    run_id integer NOT NULL REFERENCES ledger.run,
    batch_id integer NOT NULL REFERENCES ledger.batch,
    row integer NOT NULL,
    raw json NOT NULL,
    errors jsonb NOT NULL,
    contract_version integer NOT NULL,
    status text NOT NULL DEFAULT 'open',
    digest bytea NOT NULL,
    seen integer NOT NULL DEFAULT 1,
    last_batch_id integer REFERENCES ledger.batch,
    last_row integer,
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX quarantine_once ON ledger.quarantine (pipeline, digest) WHERE status = 'open';
CREATE INDEX quarantine_by_pipeline ON ledger.quarantine (pipeline, status, id);
CREATE INDEX quarantine_by_batch ON ledger.quarantine (batch_id, row);
CREATE TABLE ledger.checkpoint (
    pipeline text NOT NULL,
    partition text NOT NULL DEFAULT '',
    position jsonb NOT NULL,
    run_id integer NOT NULL REFERENCES ledger.run,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, partition)
);
CREATE TABLE ledger.item (
    pipeline text NOT NULL,
    uri text NOT NULL,
    digest text NOT NULL,
    run_id integer NOT NULL REFERENCES ledger.run,
    loaded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, uri)
);
CREATE TABLE ledger.source_schema (
    pipeline text NOT NULL,
    version integer NOT NULL,
    columns jsonb NOT NULL,
    run_id integer NOT NULL REFERENCES ledger.run,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, version)
);
CREATE TABLE ledger.drift (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    run_id integer NOT NULL REFERENCES ledger.run,
    kind text NOT NULL CHECK (kind IN ('added', 'removed', 'retyped', 'renamed')),
    column_name text NOT NULL,
    before text,
    after text,
    evidence text,
    seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE ledger.backfill (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    start_at timestamptz NOT NULL,
    end_at timestamptz NOT NULL,
    chunk interval NOT NULL,
    state text NOT NULL DEFAULT 'running',
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
CREATE TABLE ledger.chunk (
    backfill_id integer NOT NULL REFERENCES ledger.backfill,
    start_at timestamptz NOT NULL,
    end_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'missing' CHECK (state IN ('missing', 'running', 'done', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    run_id integer REFERENCES ledger.run,
    flow_run_id text,
    error text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (backfill_id, start_at)
)
"""

VIEWS = """
CREATE VIEW ledger.run_log AS
SELECT r.id AS run_id, r.pipeline, r.kind, r.state, r.source, r.destination, r.started_at, r.ended_at,
       extract(epoch FROM coalesce(r.ended_at, now()) - r.started_at)::numeric(12, 3) AS duration_seconds,
       r.landed, r.derived, r.inserted, r.updated, r.unchanged, r.duplicate, r.filtered, r.quarantined, r.deleted, r.warned,
       r.landed + r.derived = r.inserted + r.updated + r.unchanged + r.duplicate + r.filtered + r.quarantined AS balanced,
       r.bytes, r.calls, r.seconds, r.digest, r.cursor_from ->> 'cursor' AS cursor_from, r.cursor_to ->> 'cursor' AS cursor_to,
       r.attempts, r.versions, r.alerts, r.failure, r.flow_run_id
FROM ledger.run r;
CREATE VIEW ledger.lineage AS
SELECT b.id AS batch_id, b.seq, b.uri, b.digest, b.origin, b.landed_at, b.loaded_at, b.contract_version, b.pipeline_version,
       r.id AS run_id, r.pipeline, r.kind, r.flow_run_id, r.versions
FROM ledger.batch b JOIN ledger.run r ON r.id = b.run_id
"""


def upgrade() -> None:
    """Create everything; the schema itself exists already, for Alembic's own table."""
    for statement in (TABLES + ";" + VIEWS).split(";"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    """A ledger is never undone: it is what proves that nothing was lost."""
    raise RuntimeError("The ledger is never downgraded; restore a backup instead.")
