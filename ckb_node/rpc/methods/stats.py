"""Module Stats: the chain at a glance."""

from __future__ import annotations

from ckb_node.jsonrpc_types.hex_text import bytes_text, uint_text
from ckb_node.rpc.chain_results import ChainInfoJson, DeploymentsInfoJson, alert_json, deployment_info_json
from ckb_node.rpc.registry import Methods, Module, always_expensive
from ckb_node.rpc.services import Services
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.rules.header import median_time
from consensus.rules.versionbits import DeploymentTracker
from consensus.types.core import EpochFraction

METHODS = Methods(Module.STATS)


@METHODS.method
def get_blockchain_info(services: Services) -> ChainInfoJson:
    """Name of the chain, median time and epoch of the tip, its difficulty, alerts, and whether the node catches up."""
    consensus = services.chain.consensus
    with services.chain.view() as view:
        tip = view.tip_header()
        epoch = consensus.genesis_epoch.fraction_at(0).pack() if tip.number == 0 else tip.epoch
        return ChainInfoJson(
            chain=consensus.id,
            median_time=uint_text(median_time(view, tip.hash, consensus.median_time_block_count)),
            epoch=uint_text(epoch),
            difficulty=uint_text(compact_to_difficulty(tip.compact_target)),
            is_initial_block_download=services.net.sync_state().ibd,
            alerts=[alert_json(alert) for alert in services.net.alerts()],
        )


@METHODS.method(price=always_expensive)
def get_deployments_info(services: Services) -> DeploymentsInfoJson:
    """Softfork deployments (RFC 43) and the state of each at the tip."""
    with services.chain.view() as view:
        tip = view.tip_header()
        infos = {}
        for deployment in services.chain.consensus.deployments:
            tracker = DeploymentTracker(deployment)
            infos[deployment.name] = deployment_info_json(
                deployment, tracker.state(tip, view), tracker.since(tip, view)
            )
        return DeploymentsInfoJson(bytes_text(tip.hash), uint_text(EpochFraction.unpack(tip.epoch).number), infos)
