"""The learning rules. One file a rule: its settings and what it listens to; its kernels stand in the module it names.

To add a rule, write its file and name it here (docs/rules.md).
"""

from asyncnet.rules import coordinated, lms, map_async, map_propagation, reinforce, value, weight_max

RULES = {module.NAME: module for module in (reinforce, weight_max, map_propagation, map_async, coordinated, lms)}
CRITICS = {module.NAME: module for module in (value, map_propagation, map_async)}
