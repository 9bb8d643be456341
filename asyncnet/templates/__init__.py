"""Files to begin with: `asyncnet new` writes them. They are made from what ships, so there is one text of each.

rule        rule.py, which docs/rules.md prints
scenario    a shipped scenario, each key with what it is for (annotated.py)
study       the same of a shipped study, or of EXAMPLE (new.py)
"""
