"""Who may do what: roles and policies, decided in one place.

`Access` answers every door; the policies are files, checked and tested before they come into force.
docs/guides/access.md says what each role may do and how a book adds rules of its own.
"""

from qenex.services.access.messages import Account as Account
from qenex.services.access.messages import Capability as Capability
from qenex.services.access.messages import Ceiling as Ceiling
from qenex.services.access.messages import Decision as Decision
from qenex.services.access.messages import Key as Key
from qenex.services.access.messages import Party as Party
from qenex.services.access.messages import Phase as Phase
from qenex.services.access.messages import Target as Target
from qenex.services.access.messages import Transfer as Transfer
from qenex.services.access.service import Access as Access
