"""The names that ship, as types: editors complete them where a name is asked for; tests hold them to what ships. Any other text is taken as well."""

from typing import Literal

ScenarioName = Literal[
    "acrobot-map",
    "acrobot-map-async",
    "acrobot-reinforce",
    "acrobot-weight-max",
    "acrobot-weight-max-traces",
    "cartpole-free",
    "cartpole-map",
    "cartpole-map-async",
    "cartpole-reinforce",
    "cartpole-weight-max",
    "cartpole-weight-max-traces",
    "lunarlander-map",
    "lunarlander-map-async",
    "lunarlander-reinforce",
    "lunarlander-weight-max",
    "lunarlander-weight-max-traces",
    "mountaincar-map",
    "mountaincar-map-async",
    "multiplexer-weight-max",
    "multiplexer2-units",
    "multiplexer3-coordinated",
    "multiplexer3-map-async",
    "multiplexer3-weight-max",
    "multiplexer4-map-async",
    "multiplexer5-map",
    "multiplexer5-map-async",
    "regression-map",
    "regression-map-async",
    "regression-map-target",
    "regression-map-target-async",
    "tracking-idbd",
]
ConditionName = Literal[
    "calm",
    "jittery-clocks",
    "lossy",
    "slow-links",
    "stale-reward",
    "straggler",
]
StudyName = Literal[
    "acrobot-map-tuned",
    "hardship",
    "lunarlander-map-tuned",
]
