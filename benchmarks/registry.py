"""The benchmarks by name, in the order in which they run."""

from collections.abc import Mapping

from benchmarks.suites import Suite, calls, closing, codecs, files, fleet, instructions, webhooks, whole

SUITES: Mapping[str, Suite] = {
    "instructions": instructions.instructions,
    "push": calls.push,
    "ledger": calls.ledger,
    "command": whole.command,
    "create": calls.create,
    "desk": calls.desk,
    "desk-known": calls.desk_known,
    "get": calls.get,
    "pages": calls.pages,
    "uvloop": calls.on_uvloop,
    "closing": closing.closing,
    "encode": codecs.encode,
    "decode": codecs.decode,
    "files": files.files,
    "file-memory": files.file_memory,
    "import": whole.imports,
    "memory": whole.memory,
    "soak": whole.soak,
    "heartbeat": whole.heartbeat,
    "scaling": whole.scaling,
    "rising": whole.rising,
    "webhooks": webhooks.webhooks,
    "fleet": fleet.fleet,
}

GROUPS: Mapping[str, tuple[str, ...]] = {"codec": ("encode", "decode")}
"""Names for several of them."""
