"""Kernels of units that settle: Gaussian units that move towards their most probable values, below an output that samples.

    mean = f(x W + b)                          f = softplus, ReLU or linear; a softmax output has its probabilities      (B, O)
    e = (h - mean) f'(pot) / var               softmax: (onehot - mean) / T                                              error at the potential
    u_i = sum_j e_j W_ij                       told to input i
    h <- h + step * ((mean - h) + var * u)     with step 0.5 the published half-way pull towards the mode of Pr(h | below, above)

    eligibility of W_ij: x_i * gate * e_j      gate = 1, or for a value network of its output A:  1 / (A - mean) after settling, or A - mean before it

What an output with a gate says is its mean; others say their sample. The gate, one number a stream, comes down with the feedback: the node that tells
it to the next has it from the one above. Potentials are computed only after inputs or weights have changed.

Source: Chung, MAP Propagation (2021), sections 2 and 3; released code (the gate's first form; every logit of a softmax is free; cut-offs of softplus and
sigmoid). When units do this is said in settling_on_clocks.py and settling_in_phases.py.
"""

import numpy as np

from asyncnet.kernels.arithmetic import softplus_and_slope, total
from asyncnet.kernels.chance import RESAMPLE, SAMPLE, WEIGHT, normal, uniform
from asyncnet.kernels.kernel import kernel, plane_at, row_at, row_in_plane, view
from asyncnet.kernels.layout import GIVEN, STAMP, Field
from asyncnet.kernels.products import add_up, project
from asyncnet.machines.hearing import HEARD_STAMP, START, WIDTH
from asyncnet.rules import coagent
from asyncnet.rules.coagent import LINEAR, RELU, SOFTMAX, SOFTPLUS, choose, expect
from asyncnet.rules.coagent import learn as climb

# A trace, and the end of a sample's instant, are what they are for sampled units.
decay_and_add, finish_eligibility = coagent.decay_and_add, coagent.finish_eligibility
CODES = {"softmax": SOFTMAX, "softplus": SOFTPLUS, "relu": RELU, "linear": LINEAR}  # of `units`
GAUSSIAN = SOFTPLUS  # and beyond
STARTS = {"zero": 0, "sample": 1, "mean": 2}
GATES = {"none": 0, "inverse": 1, "difference": 2}
_SAMPLE, _MEAN = STARTS["sample"], STARTS["mean"]
_INVERSE = GATES["inverse"]
MOST_DRAWS = 4096  # for one observation
LEAST = 1e-12  # distance that the inverse gate sees

FIELDS = (
    *coagent.FIELDS,
    Field("gate", "B"),  # what its feedback ends with
    Field("drive_stamp", "E", STAMP),  # of the newest feedback of each node above
    Field("drive_seq", "E", "0.."),
    Field("drive_from", "E 2", lies=GIVEN),  # the partial sums it brings: the first, how many
    Field("drive", "B O Q"),
    Field("drawn", "B O"),  # the sample of a Gaussian output that says its mean
    Field("error", "B O"),
    Field("slope", "B O"),  # f'(pot)
    Field("outdated", "1", "0..1"),  # inputs or weights have changed since the potentials were computed
    Field("moved_by", "B O"),  # the last step
)
SETTINGS = (
    *coagent.SETTINGS,
    ("variance", float),
    ("step", float),
    ("start", int),
    ("gate", int),
    ("decide", int),  # rounds or ticks after a new observation in which the output samples anew
)


@kernel
def initialise(v, c):
    """Weights U(+-sqrt(6 / (inputs + units of the layer))), biases 0."""
    span = np.sqrt(6.0 / (c.I + c.fan_out))
    first = int(v.unit0[0])
    v.drive_stamp[:] = -1.0
    v.outdated[0] = 1.0
    v.gate[:] = 1.0
    for j in range(c.O):
        for i in range(c.I):
            v.weight[i, j] = span * (2.0 * uniform(c.seed, WEIGHT, first + j, i, 0) - 1.0)


@kernel
def copy_inputs(v, c, slot, stamp):
    """Copy what has come about this observation into its archive, which is what the potentials are computed from."""
    for port in range(c.S):
        if v.heard[port, HEARD_STAMP] == stamp:
            start, width = int(v.source[port, START]), int(v.source[port, WIDTH])
            for b in range(c.B):
                x, here = view(v.x, b * c.I + start, (width,)), view(v.archive_x, (slot * c.B + b) * c.I + start, (width,))
                for i in range(width):
                    here[i] = x[i]


@kernel
def forward(v, c, slot):
    """Potentials, means and slopes for the archived inputs, if they or the weights have changed."""
    if v.outdated[0] == 0.0:
        return
    v.outdated[0] = 0.0
    if c.units == SOFTMAX:
        expect(v, c, v.archive_x[slot])
        return
    add_up(plane_at(v.archive_x, slot), v.weight, v.bias, v.pot)
    for b in range(c.B):
        pot, mean, slope = row_at(v.pot, b), row_at(v.mean, b), row_at(v.slope, b)
        if c.units == SOFTPLUS:
            for j in range(c.O):
                mean[j], slope[j] = softplus_and_slope(pot[j])
        elif c.units == LINEAR:
            for j in range(c.O):
                mean[j] = pot[j]
                slope[j] = 1.0
        else:
            for j in range(c.O):
                mean[j] = max(pot[j], 0.0)
                slope[j] = 1.0 if pot[j] >= 0.0 else 0.0


@kernel
def take_inputs(v, c, slot, stamp):
    """Potentials, means and slopes (B, O) for what has come from below about observation `stamp`, kept in archive slot `slot`."""
    if v.fresh[0] == 1.0:
        v.fresh[0] = 0.0
        v.outdated[0] = 1.0
        copy_inputs(v, c, slot, stamp)
    forward(v, c, slot)


@kernel
def compute_error(v, c):
    """The error of what is held, d log p(h | below) / d pot."""
    if c.units == SOFTMAX:
        for b in range(c.B):
            y, mean, error = row_at(v.y, b), row_at(v.mean, b), row_at(v.error, b)
            for j in range(c.O):
                error[j] = (y[j] - mean[j]) / c.temperature
        return
    for b in range(c.B):
        h = row_at(v.drawn, b) if c.E == 0 and c.gate > 0 else row_at(v.y, b)
        mean, slope, error = row_at(v.mean, b), row_at(v.slope, b), row_at(v.error, b)
        for j in range(c.O):
            error[j] = (h[j] - mean[j]) * slope[j] / c.variance


@kernel
def archive_sample(v, c, slot):
    """archive[slot] = (inputs, values, gate * error)"""
    if c.F == 0:
        compute_error(v, c)
    if c.E == 0 and c.gate == _INVERSE:
        for b in range(c.B):
            off = v.drawn[b, 0] - v.mean[b, 0]
            v.gate[b] = 1.0 / (off if np.abs(off) > LEAST else LEAST)
    for b in range(c.B):
        y, e, error, kept = row_at(v.y, b), row_in_plane(v.archive_e, slot, b), row_at(v.error, b), row_in_plane(v.archive_y, slot, b)
        for n in range(c.N):
            kept[n] = y[n]
        for j in range(c.O):
            e[j] = v.gate[b] * error[j]


@kernel
def place(v, c):
    """Put a Gaussian output's sample, which stands in v.y, where it belongs: with a gate, v.y is the mean that it says."""
    if c.E == 0 and c.units >= GAUSSIAN and c.gate > 0:
        for b in range(c.B):
            for j in range(c.O):
                v.drawn[b, j] = v.y[b, j]
                v.y[b, j] = v.mean[b, j]
                if c.gate != _INVERSE:
                    v.gate[b] = v.drawn[b, j] - v.mean[b, j]


@kernel
def draw(v, c, purpose, n):
    """Sample v.y from the means: draw n of that purpose."""
    first = int(v.unit0[0])
    for b in range(c.B):
        if c.units == SOFTMAX:
            choose(v, c, b, uniform(c.seed, purpose, first, b, n))
        else:
            y, mean, sigma = row_at(v.y, b), row_at(v.mean, b), np.sqrt(c.variance)
            for j in range(c.O):
                y[j] = mean[j] + sigma * normal(c.seed, purpose, first + j, b, n)


@kernel
def begin_anew(v, c, slot, stamp):
    """Begin with a new observation, whose inputs are archived."""
    hidden = c.E > 0
    v.outdated[0] = 1.0
    for b in range(c.B):
        for j in range(c.O):
            v.moved_by[b, j] = -v.y[b, j]
    forward(v, c, slot)
    if not hidden or c.start == _SAMPLE:
        draw(v, c, SAMPLE, stamp)
    elif c.start == _MEAN:
        v.y[:] = v.mean
    for b in range(c.B):
        for j in range(c.O):
            v.moved_by[b, j] += v.y[b, j]
    place(v, c)
    if c.F > 0:
        compute_error(v, c)
    archive_sample(v, c, slot)


@kernel
def no_credit_yet(v, c):
    """Hidden units below a gate learn nothing before it is known."""
    if c.E > 0 and c.gate > 0:
        v.gate[:] = 0.0


@kernel
def draw_again(v, c, stamp, n):
    """Sample once more for the same observation: draw n."""
    for b in range(c.B):
        for j in range(c.O):
            v.moved_by[b, j] = -v.y[b, j]
    draw(v, c, RESAMPLE, stamp * MOST_DRAWS + n)
    for b in range(c.B):
        for j in range(c.O):
            v.moved_by[b, j] += v.y[b, j]
    place(v, c)


@kernel
def approach(v, c, stamp):
    """One step of hidden units towards the mode."""
    for sender in range(c.E):
        if v.drive_stamp[sender] != stamp:  # about another observation
            first = int(v.drive_from[sender, 0])
            v.drive[:, :, first : first + int(v.drive_from[sender, 1])] = 0.0
    for b in range(c.B):
        y, mean, moved = row_at(v.y, b), row_at(v.mean, b), row_at(v.moved_by, b)
        if c.Q == 1:
            drive = view(v.drive, b * c.O, (c.O,))
            for j in range(c.O):
                moved[j] = c.step * ((mean[j] - y[j]) + c.variance * (0.0 + drive[j]))
        else:
            for j in range(c.O):
                moved[j] = c.step * ((mean[j] - y[j]) + c.variance * total(v.drive[b, j]))
        for j in range(c.O):
            y[j] += moved[j]


@kernel
def learn(v, c, slot, on, feedback):
    """One update from v.credit and the eligibility, as sampled units do it."""
    v.outdated[0] = 1.0
    return climb(v, c, slot, on, feedback)


@kernel
def receive_feedback(v, c, port, seq, stamp, payload):
    """Take in what a node above tells, its pieces and then the gate: the newest counts."""
    if stamp < v.drive_stamp[port] or (stamp == v.drive_stamp[port] and seq <= v.drive_seq[port]):
        return  # overtaken on the way
    v.drive_stamp[port] = stamp
    v.drive_seq[port] = seq
    first, width = int(v.drive_from[port, 0]), int(v.drive_from[port, 1])
    at = 0
    for b in range(c.B):
        if stamp == v.stamp[0]:
            v.gate[b] = payload[payload.size - c.B + b]
        if width == c.Q:  # this sender brings all the partial sums, in the order in which they are kept
            size = c.O * c.Q
            drive, brought = view(v.drive, b * size, (size,)), view(payload, at, (size,))
            for n in range(size):
                drive[n] = brought[n]
            at += size
            continue
        for j in range(c.O):
            for piece in range(first, first + width):
                v.drive[b, j, piece] = payload[at]
                at += 1


@kernel
def backproject(v, c, feedback):
    """e W^T for the inputs: one sum, or (M > 1) one piece for each unit."""
    if c.M == 1:
        project(v.error, v.weight, view(feedback, 0, (c.B, c.I)))  # the bits of the sum of the partial sums
        return
    for b in range(c.B):
        e, out = row_at(v.error, b), feedback[b]
        for i in range(c.I):
            w = v.weight[i]
            for j in range(c.O):
                out[i, j] = e[j] * w[j]
