"""Words by which people look for a page that does not have them: each becomes a keyword, which the search indexes."""

from docutils import nodes
from sphinx.application import Sphinx

SYNONYMS = {
    "command": "cli terminal shell flags",
    "explanation/idempotency-keys": "stripe ietf replay header",
    "explanation/no-order-twice": "idempotency idempotent duplicate dedupe deduplicate",
    "explanation/from-other-clients": "migrate migration switch alternative comparison",
    "fleet": "cluster distributed scale scaling parallel queue celery",
    "how-to/audit-a-ledger": "compare verify mismatch drift",
    "how-to/back-up-a-ledger": "restore recover recovery disaster",
    "how-to/mend-a-refused-file": "fix repair correct validation invalid rejected",
    "how-to/settle-doubts": "timeout unknown stuck missing unconfirmed",
    "how-to/sign-in-many-merchants": "tenant tenants customers",
    "how-to/single-orders": "upsert idempotent retry outbox",
    "how-to/undo-a-push": "refund revoke rollback reverse cancel withdraw recall",
    "how-to/watch-a-vessel": "ship imo follow",
    "orders": "track tracking delivered eta",
    "performance": "benchmark fast slow throughput speed",
    "production/before-the-first-push": "golive launch deploy deployment checklist",
    "production/kubernetes": "k8s helm pod cronjob container",
    "production/postgresql": "grant grants privileges permissions dba user",
    "production/runbook": "incident outage oncall emergency",
    "production/upgrade": "update migrate migration rollback version",
    "production/watch": "monitor monitoring alerting prometheus grafana capacity",
    "sign-in": "login logout authentication oauth password credentials apikey",
    "simulator": "mock emulator sandbox staging fake",
    "tables": "spreadsheet import upload excel csv mapping",
    "testing": "mock fake stub pytest unittest",
    "webhooks": "callback callbacks notification notifications hook",
}
"""The words of each page."""


def add_keywords(app: Sphinx, doctree: nodes.document) -> None:
    """Give a page its words, as if it had written them into its head."""
    words = SYNONYMS.get(app.env.current_document.docname)
    if words is not None:
        doctree.insert(0, nodes.meta("", name="keywords", content=", ".join(words.split())))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-read", add_keywords)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
