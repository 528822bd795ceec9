"""The ledger of a push: every order is in it before anything is sent, and its outcome when that is known.

`Ledger.open` gives the ledger, `Ledger.begin` a `Run`: ``add`` its orders, ``admit`` them, then ``claim`` a chunk,
send it, ``record`` its outcomes, until ``pending`` is empty; ``finish`` and ``close``. After a crash: `Ledger.hold`,
``recover``, and on.
"""

from gotsurge_async.ledger.errors import IllegalTransition as IllegalTransition
from gotsurge_async.ledger.errors import LedgerAway as LedgerAway
from gotsurge_async.ledger.errors import LedgerBusy as LedgerBusy
from gotsurge_async.ledger.errors import LedgerClosed as LedgerClosed
from gotsurge_async.ledger.errors import LedgerError as LedgerError
from gotsurge_async.ledger.errors import LedgerMoved as LedgerMoved
from gotsurge_async.ledger.errors import LedgerOlder as LedgerOlder
from gotsurge_async.ledger.errors import LedgerUnsure as LedgerUnsure
from gotsurge_async.ledger.errors import LedgerUnusable as LedgerUnusable
from gotsurge_async.ledger.errors import NoSuchRun as NoSuchRun
from gotsurge_async.ledger.errors import OrdersThere as OrdersThere
from gotsurge_async.ledger.errors import OtherServer as OtherServer
from gotsurge_async.ledger.errors import RegisterUnusable as RegisterUnusable
from gotsurge_async.ledger.errors import RunHeld as RunHeld
from gotsurge_async.ledger.errors import RunLost as RunLost
from gotsurge_async.ledger.errors import SameFile as SameFile
from gotsurge_async.ledger.errors import SecondLedger as SecondLedger
from gotsurge_async.ledger.errors import StillOpen as StillOpen
from gotsurge_async.ledger.errors import TaskCancelling as TaskCancelling
from gotsurge_async.ledger.errors import TaskTaken as TaskTaken
from gotsurge_async.ledger.ledger import Ledger as Ledger
from gotsurge_async.ledger.run import Run as Run
from gotsurge_async.ledger.sql.joining import Recorded as Recorded
from gotsurge_async.ledger.sql.pages import Rival as Rival
from gotsurge_async.ledger.states import CLAIMED as CLAIMED
from gotsurge_async.ledger.states import DOUBTFUL as DOUBTFUL
from gotsurge_async.ledger.states import FREE as FREE
from gotsurge_async.ledger.states import LIVE as LIVE
from gotsurge_async.ledger.states import OLDER_COPY as OLDER_COPY
from gotsurge_async.ledger.states import OLDER_COPY_REPORTED as OLDER_COPY_REPORTED
from gotsurge_async.ledger.states import OTHER_CONTENT as OTHER_CONTENT
from gotsurge_async.ledger.states import OWNED_ELSEWHERE as OWNED_ELSEWHERE
from gotsurge_async.ledger.states import PUSHED as PUSHED
from gotsurge_async.ledger.states import READABLE as READABLE
from gotsurge_async.ledger.states import UNDO as UNDO
from gotsurge_async.ledger.states import UNFINISHED as UNFINISHED
from gotsurge_async.ledger.states import UNSETTLED as UNSETTLED
from gotsurge_async.ledger.states import WAITING as WAITING
from gotsurge_async.ledger.states import WITH_DRAFT as WITH_DRAFT
from gotsurge_async.ledger.states import Admission as Admission
from gotsurge_async.ledger.states import Counts as Counts
from gotsurge_async.ledger.states import Doubled as Doubled
from gotsurge_async.ledger.states import Mode as Mode
from gotsurge_async.ledger.states import NewOrder as NewOrder
from gotsurge_async.ledger.states import OrderOutcome as OrderOutcome
from gotsurge_async.ledger.states import OrderRow as OrderRow
from gotsurge_async.ledger.states import OrderState as OrderState
from gotsurge_async.ledger.states import PendingOrder as PendingOrder
from gotsurge_async.ledger.states import Remark as Remark
from gotsurge_async.ledger.states import RunInfo as RunInfo
from gotsurge_async.ledger.states import RunState as RunState
from gotsurge_async.ledger.states import Similar as Similar
from gotsurge_async.ledger.states import Submitted as Submitted
from gotsurge_async.ledger.states import Taken as Taken
from gotsurge_async.ledger.states import UnusedDraft as UnusedDraft
from gotsurge_async.ledger.states import Word as Word
from gotsurge_async.ledger.states import word_of as word_of
from gotsurge_async.ledger.upkeep.check import Size as Size
from gotsurge_async.ledger.upkeep.counter import Identity as Identity
