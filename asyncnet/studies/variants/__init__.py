"""The shipped rules that tell their inputs something, with other weights in that: what `asyncnet properties` compares them with. No scenario ships for them."""
