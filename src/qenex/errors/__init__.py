"""Every error of QENEX: one tree, each with a stable `code`; spec/errors.toml lists them.

QenexError
├── InvalidInput             a value that was given cannot be used; nothing was sent
│   ├── InvalidAmount            AmountTooPrecise, AmountOutOfRange
│   ├── InvalidAddress, InvalidId, UnknownAsset, InvalidAsset, InvalidRows, InvalidTimestamp, InvalidQuery, InvalidFile
│   ├── IdempotencyConflict, InvalidBookName, InvalidSettings, InvalidPolicies
│   ├── InvalidHome              CredentialMissing, CredentialExposed
│   ├── InvalidBody              InvalidField, MissingField, UnknownField
│   │   └── InvalidJson              MalformedJson, DuplicateKey, NumberNotExact, InvalidUnicode, ...
│   ├── InvalidParameter         InvalidCursor, InvalidIdempotencyKey
│   └── MalformedDocument, InvalidDocument, DocumentTooComplex
├── Rejected                 the ledger refused one row, by the first rule that applied (spec/kernel.md)
│   ├── InvalidRow               a field of the row cannot be so, whatever the ledger holds
│   ├── ChainBroken              the row stands in a chain that failed as a whole
│   ├── AlreadyExists            the id was used before
│   ├── ImportedOutOfOrder       the time of an imported row does not fit
│   ├── AccountRefused           an account is missing, closed, restricted, or has not enough
│   ├── PendingRefused           the pending transfer cannot be posted or voided so
│   └── Overflows                a sum would leave its range
├── NotFound                 TransferNotFound, PrincipalNotFound, ApiKeyNotFound
├── IdentityError            ApiKeyEnded, GrantTooWide, LastOwner, PrincipalSuspended
├── CommandError             CheckFailed, AddressInUse, AddressInvalid, PlaintextExposed, ProcessDied, StartTimeout
├── BatchRefused, HistoryNotKept, PolicyTestsFailed, InternalError
├── RateLimited              too many requests
├── DependencyUnavailable    something outside does not answer
├── RecordsError             RecordsUnavailable, RecordsNewer, RecordsDamaged, RecordsKeyWrong
├── ExchangeError            an HTTP exchange went wrong: RouteNotFound, BodyTooLarge, ...
└── EngineError              a whole request was refused, or nobody answered (spec/protocol.md section 5)
    ├── Busy, Forbidden, ...     one for each error of the protocol
    ├── ConnectionFailed         EngineUnreachable, ConnectionLost
    ├── UnexpectedReply, ClientClosed
    └── StorageError             BookLocked, BookDamaged, BookMissing, BookExists, StorageFailed,
                                 BackupUnusable
"""

from qenex.errors.access import *  # noqa: F403  # every class there is part of the tree
from qenex.errors.base import BY_CODE as BY_CODE
from qenex.errors.base import QenexError as QenexError
from qenex.errors.commands import *  # noqa: F403  # every class there is part of the tree
from qenex.errors.engine import *  # noqa: F403  # every class there is part of the tree
from qenex.errors.http import *  # noqa: F403  # every class there is part of the tree
from qenex.errors.identity import *  # noqa: F403  # every class there is part of the tree
from qenex.errors.inputs import *  # noqa: F403  # every class there is part of the tree
from qenex.errors.protection import *  # noqa: F403  # every class there is part of the tree
from qenex.errors.records import *  # noqa: F403  # every class there is part of the tree
from qenex.errors.rejected import *  # noqa: F403  # every class there is part of the tree
