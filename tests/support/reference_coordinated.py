"""Independent NumPy reference of coordinated exploration, Algorithm 1: one hidden layer of Bernoulli {0,1} units with symmetric lateral weights.

    P(h|S) proportional to exp(h.(S W + b) + c/2 h.L.h),  L symmetric, zero diagonal
    unit i:   h_i = 1 if u < s(S W_i + b_i + c sum_j L_ij h_j)
    output:   A ~ softmax([h V + e, 0])          d = R - V(S)
    dW_ki = a d S_k h_i,   db_i = a d h_i,   dL_ij = a d c h_i h_j (i != j),   dV_jn = a d h_j (A_n - p_n),   de_n = a d (A_n - p_n)

One stream, one decision at a time; weights are (inputs, outputs). Every random number is handed in, so a caller may key them as it likes. Source: Chung 2023
(arXiv 2307.13256) by its summary; `check` shows by enumeration that the expected update is the gradient of the expected reward.
"""

from itertools import product

import numpy as np


def logistic(x):
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * np.tanh(0.5 * np.asarray(x, dtype=float)) + 0.5


class Adam:
    """w <- w + a c1 m / (sqrt(c2 s) + eps); the corrections c1, c2 are 1 from the thousandth update on, as released by Chung."""

    def __init__(self, shape, rate, eps=1e-8, beta1=0.9, beta2=0.999):
        self.rate, self.eps, self.beta1, self.beta2, self.updates = rate, eps, beta1, beta2, 0
        self.first, self.second = np.zeros(shape), np.zeros(shape)

    def ascend(self, weights, gradient):
        self.updates += 1
        t = self.updates
        c1, c2 = (1 / (1 - self.beta1**t), 1 / (1 - self.beta2**t)) if t < 1000 else (1.0, 1.0)
        self.first = self.beta1 * self.first + (1 - self.beta1) * gradient
        self.second = self.beta2 * self.second + (1 - self.beta2) * gradient**2
        weights += self.rate * c1 * self.first / (np.sqrt(c2 * self.second) + self.eps)


class Coordinated:
    """The team, step by step: `observe`, `update` of single units in any order, `act` as often as wished, `archive`, `learn`."""

    def __init__(self, W, b, V, e, c, rate, eps=1e-8, start="silent", L=None):
        """W (I, N), b (N,), V (N, M - 1), e (M - 1,); arrays are copied. `rate` is one number or {"W":, "b":, "L":, "V":, "e":}.

        `start`: under a new observation a unit that has not been updated yet counts as 0 ("silent") or goes on with what it was ("hold").
        """
        N = len(b)
        weights = {"W": W, "b": b, "L": np.zeros((N, N)) if L is None else L, "V": V, "e": e}
        self.weights = {name: np.array(value, dtype=float) for name, value in weights.items()}
        rates = rate if isinstance(rate, dict) else dict.fromkeys(self.weights, rate)
        # Every unit is an agent with an optimiser of its own; as all step together here, one object for an array is the same.
        self.adam = {name: Adam(value.shape, rates[name], eps) for name, value in self.weights.items()}
        self.c, self.start, self.h = c, start, np.zeros(N)
        self.x = self.p = self.onehot = None
        self.told = {}

    # acting

    def observe(self, s):
        self.s = np.asarray(s, dtype=float)
        self.x = None
        if self.start == "silent":
            self.h[:] = 0.0

    def probability(self, i):
        """P(h_i = 1 | S, newest h of the others)."""
        w = self.weights
        return float(logistic(self.s @ w["W"][:, i] + w["b"][i] + self.c * (w["L"][i] @ self.h)))

    def update(self, i, u):
        """Gibbs update of unit i by the number u in [0, 1); returns its value."""
        self.h[i] = 1.0 if u < self.probability(i) else 0.0
        return self.h[i]

    def distribution(self, h):
        """Probabilities of all actions for hidden values h; the last logit is fixed at 0."""
        logits = np.append(h @ self.weights["V"] + self.weights["e"], 0.0)
        mass = np.exp(logits - logits.max())
        return mass / mass.sum()

    def act(self, u):
        """Action by the inverse of the cumulative distribution for the newest h; the same u under one observation makes a revision of it."""
        self.x, self.p = self.h.copy(), self.distribution(self.h)
        below = np.cumsum(self.p)
        self.action = min(int(np.searchsorted(below, u, side="right")), len(self.p) - 1)
        self.onehot = np.eye(len(self.p))[self.action]
        return self.action

    # learning

    def archive(self, stamp):
        """Keep what learning will need under the observation's stamp: hidden values as they stand, the output's inputs at its last tick and its score."""
        self.told[stamp] = (self.s.copy(), self.h.copy(), None if self.x is None else self.x.copy(), None if self.x is None else (self.onehot - self.p)[:-1])

    def eligibility(self, stamp):
        """What d is multiplied with: {name: array}; the output's is missing if it did not act."""
        s, h, x, score = self.told[stamp]
        lateral = self.c * np.outer(h, h)
        np.fill_diagonal(lateral, 0.0)
        found = {"W": np.outer(s, h), "b": h, "L": lateral}
        return found if x is None else found | {"V": np.outer(x, score), "e": score}

    def learn(self, stamp, d):
        """One step of every unit from the TD error d of that observation."""
        for name, eligibility in self.eligibility(stamp).items():
            self.adam[name].ascend(self.weights[name], d * eligibility)
        del self.told[stamp]

    # exact expectations, for small N

    def stationary(self):
        """(states (2^N, N), probabilities) of the Boltzmann law of h given the present observation."""
        w = self.weights
        states = np.array(list(product((0.0, 1.0), repeat=len(self.h))))
        return states, boltzmann(self.s, states, w["W"], w["b"], w["L"], self.c)


def boltzmann(s, states, W, b, L, c):
    """P(h|S) of each row of `states`; complex parameters are allowed."""
    energy = states @ (s @ W + b) + 0.5 * c * np.einsum("ai,ij,aj->a", states, L, states)
    mass = np.exp(energy - energy.real.max())
    return mass / mass.sum()


def expected_reward(s, rewards, W, b, L, V, e, c):
    """E[R|S] = sum_h P(h|S) sum_a P(a|h) R(a), by enumeration; complex parameters are allowed."""
    states = np.array(list(product((0.0, 1.0), repeat=len(b))))
    logits = np.concatenate([states @ V + e, np.zeros((len(states), 1))], axis=1)
    mass = np.exp(logits)
    return (boltzmann(s, states, W, b, L, c) * ((mass / mass.sum(1, keepdims=True)) @ np.asarray(rewards))).sum()


def exact_gradient(s, rewards, parameters, c):
    """dE[R|S] of each parameter by finite differences; a lateral weight stands at two places, and each end is credited with the derivative of the pair."""
    found, step = {}, 1e-5
    for name, value in parameters.items():
        gradient = np.zeros(value.shape)
        for index in np.ndindex(value.shape):
            if name == "L" and index[0] == index[1]:
                continue
            places = [index, index[::-1]] if name == "L" else [index]
            ends = []
            for sign in (1, -1):
                moved = {key: np.array(v) for key, v in parameters.items()}
                for place in places:
                    moved[name][place] += sign * step
                ends.append(expected_reward(s, rewards, **moved, c=c))
            gradient[index] = (ends[0] - ends[1]) / (2 * step)
        found[name] = gradient
    return found


def expected_update(team, rewards, baseline):
    """E[d x eligibility] over the stationary law of h and the action given h, for d = R - baseline; nothing of the team but its own methods."""
    states, law = team.stationary()
    sums = {}
    for h, weight in zip(states, law, strict=True):
        team.h = h.copy()
        for a, chance in enumerate(team.distribution(h)):
            u = team.distribution(h)[:a].sum() + 0.5 * chance  # a number that makes it choose action a
            assert team.act(u) == a
            team.archive("now")
            for name, eligibility in team.eligibility("now").items():
                sums[name] = sums.get(name, 0.0) + weight * chance * (rewards[a] - baseline) * eligibility
    return sums


def stationary_error(team):
    """How far the random-scan Gibbs kernel made of `probability` moves the Boltzmann law (0: it is stationary)."""
    states, law = team.stationary()
    after = np.zeros_like(law)
    place = {tuple(h): n for n, h in enumerate(states)}
    for h, weight in zip(states, law, strict=True):
        for i in range(len(h)):
            team.h = h.copy()
            p = team.probability(i)
            for value, chance in ((1.0, p), (0.0, 1 - p)):
                to = h.copy()
                to[i] = value
                after[place[tuple(to)]] += weight * chance / len(h)
    return np.abs(after - law).max()


def check(seed=0, inputs=3, hidden=3, actions=2, c=0.7):
    """Largest |E[update] - gradient| of a random net, by parameter, with the exact V(S) as baseline; with 0 as baseline; how stationary the law is."""
    rng = np.random.default_rng(seed)
    L = rng.normal(size=(hidden, hidden))
    L = np.triu(L, 1) + np.triu(L, 1).T
    parameters = {
        "W": rng.normal(size=(inputs, hidden)),
        "b": rng.normal(size=hidden),
        "L": L,
        "V": rng.normal(size=(hidden, actions - 1)),
        "e": rng.normal(size=actions - 1),
    }
    s, rewards = rng.choice([-1.0, 1.0], inputs), rng.normal(size=actions)
    team = Coordinated(parameters["W"], parameters["b"], parameters["V"], parameters["e"], c, 0.01, L=L)
    team.observe(s)
    exact = exact_gradient(s, rewards, parameters, c)
    centred = expected_update(team, rewards, expected_reward(s, rewards, **parameters, c=c))
    bare = expected_update(team, rewards, 0.0)
    errors = {name: float(np.abs(centred[name] - exact[name]).max()) for name in exact}
    biased = {name: float(np.abs(bare[name] - exact[name]).max()) for name in exact}
    return errors, biased, float(stationary_error(team))
