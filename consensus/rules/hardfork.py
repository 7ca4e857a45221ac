"""Which features are active when (RFC 37, RFC 48, RFC 49): one named predicate each, over an epoch number.

RFC 29, 30, 31, 36 and 38 were activated together with RFC 28 on the public chains, and no block before that epoch
breaks them: they are plain rules here, as in every node that syncs the public chains today.
"""

from consensus.params import Consensus, HasHardforks
from consensus.types.blockchain import HASH_TYPE_DATA, HASH_TYPE_DATA1, HASH_TYPE_DATA2, HASH_TYPE_TYPE

ENABLED_HASH_TYPES = frozenset({HASH_TYPE_DATA, HASH_TYPE_TYPE, HASH_TYPE_DATA1, HASH_TYPE_DATA2})
"""Hash types that the lock of an output may have. A type script may name any; it fails when it runs."""


def is_hash_type(value: int) -> bool:
    """The byte is a hash type at all: 1, or even (data of some VM version, known or future)."""
    return value == HASH_TYPE_TYPE or value % 2 == 0


def since_counts_from_block_timestamp(consensus: Consensus, epoch_number: int) -> bool:
    """RFC 28: a relative time lock starts at the timestamp of the cell's block, before at its parent's median time."""
    return epoch_number >= consensus.hardforks.rfc_0028


def vm_version_is_active(consensus: HasHardforks, vm_version: int, epoch_number: int) -> bool:
    """RFC 32, RFC 49: scripts may run on this version of the VM with its syscalls."""
    first_epochs = (0, consensus.hardforks.rfc_0032, consensus.hardforks.rfc_0049)
    return 0 <= vm_version < len(first_epochs) and epoch_number >= first_epochs[vm_version]


def type_script_vm_version(consensus: HasHardforks, epoch_number: int) -> int:
    """RFC 32, RFC 49: scripts with hash type `type` run on the newest active version."""
    if vm_version_is_active(consensus, 2, epoch_number):
        return 2
    return 1 if vm_version_is_active(consensus, 1, epoch_number) else 0


def header_version_is_free(consensus: Consensus, epoch_number: int) -> bool:
    """RFC 48: the version field of a header is no longer reserved."""
    return epoch_number >= consensus.hardforks.rfc_0048


def chain_root_is_required(consensus: Consensus, parent_epoch_number: int) -> bool:
    """RFC 44: the extension starts with the chain root, and DAO lock sizes count. The *parent's* epoch decides."""
    return parent_epoch_number >= consensus.rfc_0044_epoch
