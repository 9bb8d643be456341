"""Adam as the published implementations use it.

    m <- b1 m + (1 - b1) g        v <- b2 v + (1 - b2) g^2        w <- w + a * c1 m / (sqrt(c2 v) + eps)

with c1 = 1/(1 - b1^t), c2 = 1/(1 - b2^t) while t < 1000 and c1 = c2 = 1 from the thousandth call on (the step jumps by 1.2576 there). The
"gradient" is the product of credit and eligibility, an ascent direction. Source: released code of MAP Propagation and Weight Maximization.
"""

import numpy as np

from asyncnet.kernel import kernel

UNCORRECTED_FROM = 1000
NEGLIGIBLE = 1e-280


@kernel
def corrections(t, beta1, beta2):
    """The bias corrections (c1, c2) of call number t = 1, 2, ..."""
    if t >= UNCORRECTED_FROM:
        return 1.0, 1.0
    return 1.0 / (1.0 - beta1**t), 1.0 / (1.0 - beta2**t)


@kernel
def ascend(w, m, v, g, step, beta1, beta2, eps, c1, c2):
    """One Adam step of size `step` along g, in place; w, m, v, g are (n,)."""
    for i in range(w.size):
        first = beta1 * m[i] + (1.0 - beta1) * g[i]
        second = beta2 * v[i] + (1.0 - beta2) * g[i] * g[i]
        # The moments of an input that stays silent decay without end; below the normal range each operation would cost a hundred cycles.
        first = first if np.abs(first) > NEGLIGIBLE else 0.0
        second = second if second > NEGLIGIBLE else 0.0
        m[i] = first
        v[i] = second
        w[i] += step * (c1 * first) / (np.sqrt(c2 * second) + eps)


@kernel
def annealed(start, end, over, t):
    """The learning rate at update t: linear from start to end over `over` updates, then constant."""
    if over <= 0.0:
        return start
    return start + (end - start) * min(1.0, t / over)
