"""The learning rules. One file a rule: its settings and what it listens to; its kernels stand in the module it names.

To add a rule, write its file and name it here, or register it from outside (docs/rules.md).
"""

from asyncnet.rules import coordinated, lms, map_async, map_propagation, reinforce, value, weight_max
from asyncnet.rules.settings import LearnerSettings
from asyncnet.scenario.registry import Registry

# What every rule says, and of what kind it is (registry.py).
NEEDS = {
    "NAME": "text",
    "LINE": "text",
    "UNITS": "names",
    "OUTPUTS": "names",
    "FREE_LOGITS": "truth",
    "HIDDEN": "kind",
    "OUTPUT": "kind",
    "Settings": "settings",
    "values": "function",
}
RULES = Registry("rule", NEEDS, LearnerSettings, (reinforce, weight_max, map_propagation, map_async, coordinated, lms))
CRITICS = {value.NAME: value}  # beside those rules that say what they are as a critic: a class Critic
