"""The environment variables of the command, all named in this one place."""

VARIABLES = {
    "GOTSURGE_ENV": "Which GotSurge: local, sandbox or production; as --env.",
    "GOTSURGE_API_BASE": "The URL that the API's paths stand on; as --api-base.",
    "GOTSURGE_PROFILE": "A profile: verbs and paths that a person has confirmed (gotsurge endpoints).",
    "GOTSURGE_SETTLE": "Seconds after which a request that was not answered can no longer act.  [default: 600]",
    "GOTSURGE_LEDGER": "The ledger: a file, or postgresql://USER@HOST/NAME; as --ledger.",
    "GOTSURGE_REGISTER": "The register of the ledgers that push from this machine: a file.",
    "GOTSURGE_BOOK": "The order book; as --book.",
    "GOTSURGE_MAPS": "The folder in which maps are kept (gotsurge map).",
    "GOTSURGE_FROM": "The database of --sql; as --from.",
    "GOTSURGE_CLIENT_KEY": "The partner's client key.",
    "GOTSURGE_SECRET_KEY": "The partner's secret key.",
    "GOTSURGE_BEARER_TOKEN": "A token to sign in with; alone it is enough, for its 30 days.",
    "GOTSURGE_REFRESH_TOKEN": "What renews the token; with the client key.",
    "GOTSURGE_CONFIG_FILE": "Credentials of accounts, instead of config.toml in your configuration folder.",
    "GOTSURGE_TOKEN_FILE": "Where tokens are kept, instead of tokens.json in your configuration folder.",
    "GOTSURGE_TOKEN_STORE": "The URL of a database that keeps the tokens, or keyring.",
    "GOTSURGE_TOKEN_KEYS": "Keys that encrypt the tokens, the newest first, with commas between them.",
    "GOTSURGE_TOKEN_KEY_FILE": "A file with such keys.",
    "GOTSURGE_WEBHOOK_TOKEN": "The secret in the path at which events come in (gotsurge receive).",
    "GOTSURGE_WEBHOOK_TOKEN_NEXT": "The next one, while both are taken.",
    "GOTSURGE_FORWARD_URL": "Where gotsurge receive sends changes, and listen events; as --forward-to.",
    "GOTSURGE_FORWARD_SECRET": "The secret that signs what gotsurge receive and listen send on.",
    "GOTSURGE_MCP_TOKEN": "The bearer token of gotsurge mcp --http.",
    "GOTSURGE_MCP_TOOLS": "The tools that agents have, with commas between them; read stands for all that only read; "
    "as --tools.",
    "GOTSURGE_MCP_FOLDER": "Only tables in this folder may be read by agents; as --folder.",
    "GOTSURGE_MCP_MAX_ORDERS": "The most orders that agents may propose in 24 hours; as --max-orders.",
    "GOTSURGE_MCP_MAX_SPEND": "The most money that agents may propose in 24 hours; with it, each order needs a price; "
    "as --max-spend.",
    "GOTSURGE_MCP_EXPIRES": "Minutes for which a proposal waits for a person; as --expires.",
    "GOTSURGE_MCP_ALLOW_PRODUCTION": "Let agents propose for production; as --allow-production, if it is 1.",
    "GOTSURGE_MCP_APPROVE_IN_CLIENT": "Let a person approve in the client, by its elicitation: you trust the client "
    "to ask one; as --approve-in-client, if it is 1.",
    "GOTSURGE_ALERT_URL": "Where gotsurge alerts posts; as --post.",
}
"""Each variable, with the text about it."""

OTHERS = {
    "PGPASSWORD": "The password of a ledger in PostgreSQL; or ~/.pgpass.",
    "HTTPS_PROXY": "The proxy for all calls, with NO_PROXY for hosts without one.",
    "NO_COLOR": "No colours on a terminal.",
    "COLUMNS": "How wide a terminal is taken to be.",
}
"""Variables of other programs that the command uses, too."""
