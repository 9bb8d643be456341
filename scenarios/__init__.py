"""The shipped scenarios and conditions (TOML files beside this one), and what is built on runs of them."""
