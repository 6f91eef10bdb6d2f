"""How much anyone may ask: rates and bursts by credential, principal, book and peer address.

`rules` decides (no clock, no I/O), `table` remembers within fixed bounds, `local` judges a request by all limits at
once in this process; `qenex.adapters.redis` does so for many nodes.
"""

from qenex.limits.local import LocalLimits as LocalLimits
from qenex.limits.peers import peer_key as peer_key
from qenex.limits.ports import Limits as Limits
from qenex.limits.rules import Limit as Limit
from qenex.limits.rules import Policy as Policy
from qenex.limits.rules import Verdict as Verdict
from qenex.limits.rules import bulk_cost as bulk_cost
