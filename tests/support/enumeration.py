"""Exact expectations on tiny nets, by running through every configuration of their units (3-3-3-1 has 128).

A net is a list of weights (inputs, outputs) and a list of biases, of Bernoulli {0,1} hidden units below an output that is "bernoulli" or "softmax" (one-hot,
the last logit fixed at 0, hence one column fewer than actions). `rewards` holds one number per action: the class, or the output bits read as a binary number.
"""

from itertools import product

import numpy as np


def configurations(W, out="bernoulli"):
    """Every joint state of the units as a list of (states, units) arrays, one per layer."""
    sizes = [w.shape[1] for w in W]
    ends = np.eye(sizes[-1] + 1) if out == "softmax" else np.array(list(product((0.0, 1.0), repeat=sizes[-1])))
    hidden = np.array(list(product((0.0, 1.0), repeat=sum(sizes[:-1])))).reshape(-1, sum(sizes[:-1]))
    joint = np.hstack([np.repeat(hidden, len(ends), axis=0), np.tile(ends, (len(hidden), 1))])
    return np.split(joint, np.cumsum(sizes[:-1]), axis=1)


def probabilities(W, b, x, states, out="bernoulli"):
    """P(h_1 .. h_L | x) of each state, the product of the layers' conditionals. Complex parameters are allowed."""
    total, below = 1.0, np.reshape(x, (1, -1))
    for level, (w, c, h) in enumerate(zip(W, b, states, strict=True)):
        pot = below @ w + c
        if out == "softmax" and level == len(W) - 1:
            mass = np.exp(np.hstack([pot, np.zeros((len(pot), 1))]))
            total = total * (mass * h).sum(1) / mass.sum(1)
        else:
            p = 1 / (1 + np.exp(-pot))
            total = total * np.where(h == 1, p, 1 - p).prod(1)
        below = h
    return total


def actions(states, out="bernoulli"):
    """Index of each state's action in the reward table."""
    last = states[-1].astype(int)
    return last.argmax(1) if out == "softmax" else last @ (1 << np.arange(last.shape[1])[::-1])


def expected_reward(W, b, x, rewards, out="bernoulli"):
    """E[R(action) | x]."""
    states = configurations(W, out)
    return (probabilities(W, b, x, states, out) * np.asarray(rewards)[actions(states, out)]).sum()


def exact_gradient(W, b, x, rewards, out="bernoulli"):
    """[dE/dW_1, dE/db_1, dE/dW_2, ...] by the complex step, Im E(w + ih) / h: exact to rounding, and free of the score functions that it is to check."""
    states = configurations(W, out)
    table, tiny, result = np.asarray(rewards)[actions(states, out)], 1e-30, []
    params = [p.astype(complex) for pair in zip(W, b, strict=True) for p in pair]
    for p in params:
        gradient = np.zeros(p.shape)
        for index in np.ndindex(p.shape):
            p[index] += 1j * tiny
            gradient[index] = (probabilities(params[::2], params[1::2], x, states, out) * table).sum().imag / tiny
            p[index] = p[index].real
        result.append(gradient)
    return result


def expectation(estimator, W, b, x, out="bernoulli"):
    """Sum over all states of P(state | x) * estimator(x, h_list), array by array; x and each h are handed over as one stream, shape (1, units)."""
    x, states, sums = np.reshape(x, (1, -1)), configurations(W, out), None
    for index, weight in enumerate(probabilities(W, b, x, states, out)):
        terms = [weight * np.asarray(term) for term in estimator(x, [h[index : index + 1] for h in states])]
        sums = terms if sums is None else [s + t for s, t in zip(sums, terms, strict=True)]
    return sums
