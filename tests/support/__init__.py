"""What the tests of more than one folder need. Which helper for what:

- `orders`: Orders, windows and answers as objects, and the moment at which the tests' clocks stand.
- `order_forms`: One good order as cells of a table and as an object, and any order that a table can hold.
- `strategies`: Any model and any JSON, for hypothesis.
- `clients`: A client whose service is a function or a list of answers: no network, no waiting.
- `world`: A client signed in to a simulator over real HTTP, and every request and answer between them.
- `public`: What is public: modules, classes, functions and methods.
- `running`: A simulator in a thread of its own, for tests that are not asynchronous themselves.
- `serving`: An ASGI application under uvicorn, inside the test.
- `threads`: When threads work for the loop: the time of a clock that is turned stands still meanwhile.
- `pushes`: A client signed in to a simulator, a ledger on disk, and pushes through them in which nobody waits.
- `commands`: ``gotsurge`` in a process of its own or inside the test; files of orders, and a place with a ledger.
- `desks`: Desks over the memory transport, and services that answer, or wait, or lose what they are sent.
- `browser`: GotSurge's pages with a person's answers, in the test or as ``BROWSER`` of a command.
- `chromium`: A real browser, for as long as a block lasts.
- `terminal`: The command at a real terminal: what a person sees, and types.
- `consoles`: The ``console`` blocks of a page, typed at a terminal; what they print is compared.
- `sheets`: Tables as files of every format, written as other programs write them.
- `workers`: Real workers, one process each, over a real PostgreSQL and a simulator in the test.
- `postgres`: A real PostgreSQL, for as long as a block lasts.
- `powerless`: Files in a folder in which nothing may be written, also where the tests run as root.

What only one folder needs stands there: ``kit.py`` of tests/simulator (plain HTTP, nothing of the client), tests/auth,
tests/auth/web, tests/ledger and tests/tables, ``rig.py`` of tests/calls,
tests/chaos (a crew of workers, ways that can be cut), and all of tests/promise, whose judge and stations belong to the
promise alone.
"""
