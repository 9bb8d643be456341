"""Synchronous NumPy reference of Weight Maximization, REINFORCE and their critic, written from the published formulas.

It shares nothing with the package under test: it is what the package is compared with, in values and in speed. Sources: Chung and Barto 2022 (RLDM, equations 4
to 6, Weight Maximization) and the settings and handling of episodes that were released with it.
Arrays are (streams, units) and weights (inputs, outputs); the bias is the last row of a layer's parameters, fed by a constant 1.
"""

from itertools import islice
from time import perf_counter

import numpy as np

MULTIPLEXER = {"lr": (1e-2, 1e-3, 1e-4)}
CARTPOLE_ACTOR = {"lr": (2e-2, 2e-4, 2e-5), "lr_end": (2e-4, 2e-6, 2e-7), "anneal": 50_000}
CARTPOLE_CRITIC = {"lr": (4e-2, 4e-5, 4e-6), "lr_end": (4e-3, 4e-5, 4e-6), "anneal": 50_000}


def sections(path):
    """Split a golden recording into {section name: {key: array}}; every key that ends in "sizes" announces a section, the one without prefix is "main"."""
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    prefixes = sorted((key.removesuffix("sizes") for key in arrays if key.endswith("sizes")), key=len, reverse=True)
    found = {prefix: {} for prefix in prefixes}
    for key, array in arrays.items():
        owner = next((prefix for prefix in prefixes if key.startswith(prefix)), None)
        if owner is not None:
            found[owner][key.removeprefix(owner)] = array
    return {prefix.rstrip("_") or "main": found[prefix] for prefix in reversed(prefixes)}


def sigmoid(x):
    """1 / (1 + exp(-x)), through tanh because that cannot overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


class Adam:
    """Adam (Kingma and Ba 2015) as released with the two papers: eps outside the root, no bias correction from the 1000th call on.

    m <- m + (1-b1)(g-m); v <- v + (1-b2)(g^2-v); step = lr (m/c1) / (sqrt(v/c2) + eps), c = 1 - b^t for t < 1000, else 1. The rate moves linearly from `lr` to
    `lr_end` over `anneal` calls. `step` returns a buffer that the next call overwrites.
    """

    def __init__(self, shape, lr, lr_end=None, anneal=0, *, eps=1e-8, beta1=0.9, beta2=0.999):
        self.lr, self.lr_end, self.anneal = lr, lr if lr_end is None else lr_end, anneal
        self.eps, self.beta1, self.beta2 = eps, beta1, beta2
        self.m, self.v, self.delta, self.t = np.zeros(shape), np.zeros(shape), np.zeros(shape), 0

    def rate(self):
        """Learning rate of the next call; the released loop counts decisions from 0 and first updates in decision 1."""
        return self.lr + (self.lr_end - self.lr) * min((self.t + 1) / self.anneal, 1.0) if self.anneal else self.lr

    def step(self, g):
        """Increment to add to the parameters for the ascent direction `g`."""
        lr, m, v, out = self.rate(), self.m, self.v, self.delta
        self.t += 1
        c1, c2 = (1 - self.beta1**self.t, 1 - self.beta2**self.t) if self.t < 1000 else (1.0, 1.0)
        np.subtract(g, m, out=out)
        out *= 1 - self.beta1
        m += out
        np.multiply(g, g, out=out)
        out -= v
        out *= 1 - self.beta2
        v += out
        np.sqrt(v, out=out)
        out += self.eps * c2**0.5  # numerator and denominator times sqrt(c2): one pass over the array less
        np.divide(m, out, out=out)
        out *= lr * c2**0.5 / c1
        return out


class RMSprop(Adam):
    """s <- b s + (1-b) g^2; step = lr g / (sqrt(s) + eps)."""

    def step(self, g):
        lr, self.t = self.rate(), self.t + 1
        self.v = 0.9 * self.v + 0.1 * g**2
        return lr * g / (self.v**0.5 + self.eps)


class HeavyBall(Adam):
    """m <- 0.5 m + g; step = lr m."""

    def step(self, g):
        lr, self.t = self.rate(), self.t + 1
        self.m = 0.5 * self.m + g
        return lr * self.m


class Plain(Adam):
    """step = lr g"""

    def step(self, g):
        lr, self.t = self.rate(), self.t + 1
        return lr * g


class IDBD(Adam):
    """b <- b + 0.01 g h; a = lr e^b; step = a g; h <- h max(0, 1 - a s) + a g, where s is the mean over streams of the squared traces `z`."""

    def step(self, g):
        self.v = self.v + 0.01 * g * self.m
        a, self.t = self.rate() * np.exp(self.v), self.t + 1
        self.m = self.m * np.maximum(0.0, 1.0 - a * np.mean(self.z**2, axis=0)) + a * g
        return a * g


class _Net:
    """What the team and the critic share: parameters, activations, traces per stream, one Adam state per layer."""

    def __init__(self, sizes, columns, *, lr, lr_end, anneal, lam, eps, rng):
        self.rng = rng = rng or np.random.default_rng()
        self.lam, self.depth = lam, len(columns)
        lr, lr_end = np.broadcast_to(lr, self.depth), np.broadcast_to(lr if lr_end is None else lr_end, self.depth)
        self.theta, self.adam = [], []
        for n_in, n_out, start, end in zip(sizes[:-1], columns, lr.tolist(), lr_end.tolist(), strict=True):
            bound = (6 / (n_in + n_out)) ** 0.5
            self.theta.append(np.vstack([rng.uniform(-bound, bound, (n_in, n_out)), rng.uniform(-1e-3, 1e-3, (1, n_out))]))
            self.adam.append(Adam((n_in + 1, n_out), start, end, anneal, eps=eps))
        self.W, self.b = [p[:-1] for p in self.theta], [p[-1] for p in self.theta]
        self.inputs, self.z = [], [None] * self.depth
        self.pot, self.mean, self.h, self.U, self.unit_reward = ([None] * self.depth for _ in range(5))

    def _load(self, x):
        """Place the observation below the first layer, next to the constant 1 of the bias (kept in the arrays from one call to the next)."""
        if not self.inputs or len(self.inputs[0]) != len(x):
            self.inputs = [np.ones((len(x), len(p))) for p in self.theta]
        self.inputs[0][:, :-1] = x

    def _accumulate(self, level, e):
        """z <- lam z + in (x) e, for each stream."""
        product = self.inputs[level][:, :, None] * e[:, None, :]
        if self.lam and self.z[level] is not None:
            self.z[level] *= self.lam
            self.z[level] += product
        else:
            self.z[level] = product

    def _apply(self, level, reward):
        """U = z * reward of the unit; the parameters follow Adam on the average of U over the streams."""
        self.unit_reward[level] = reward
        self.U[level] = U = self.z[level] * reward[:, None, :]
        self.adam[level].z = self.z[level]
        self.theta[level] += self.adam[level].step(U[0] if len(U) == 1 else U.sum(0) / len(U))
        return U

    def clear(self, keep):
        """Zero the traces of the streams whose `keep` is 0."""
        if self.z[0] is not None:
            keep = np.reshape(keep, (-1, 1, 1))
            for z in self.z:
                np.multiply(z, keep, out=z)


class Team(_Net):
    """A net of Bernoulli {0,1} units in which each unit is an agent; Weight Maximization (`weight_max` > 0, the norm's power) or REINFORCE (0).

    The output is a group of Bernoulli units, or one softmax choice whose last logit is fixed at 0.
    """

    def __init__(self, sizes, out="softmax", *, temperature=1.0, lr=1e-2, lr_end=None, anneal=0, lam=0.0, weight_max=2, eps=1e-8, rng=None):
        self.softmax, self.weight_max = out == "softmax", weight_max
        columns = [*sizes[1:-1], sizes[-1] - self.softmax]
        super().__init__(sizes, columns, lr=lr, lr_end=lr_end, anneal=anneal, lam=lam, eps=eps, rng=rng)
        self.temperature = np.broadcast_to(temperature, self.depth).tolist()

    def forward(self, x, draws=None):
        """Sample every layer from the one below: P(h = 1) = sigmoid(in W + b); returns the output (one-hot for softmax). `draws` are samples to use instead."""
        self._load(x)
        for level in range(self.depth):
            pot = self.inputs[level] @ self.theta[level]
            pot /= self.temperature[level]
            if self.softmax and level == self.depth - 1:
                pot = np.concatenate([pot, np.zeros((len(pot), 1))], axis=1)
                mean = np.exp(pot - pot.max(1, keepdims=True))
                mean /= mean.sum(1, keepdims=True)
                h = draws[level] if draws is not None else self._choose(mean)
            else:
                mean = sigmoid(pot)
                h = draws[level] if draws is not None else self.rng.random(mean.shape) < mean
            if level < self.depth - 1:
                below = self.inputs[level + 1][:, :-1]
                below[:] = h
                h = below
            self.pot[level], self.mean[level], self.h[level] = pot, mean, h
        return h

    def _choose(self, mean):
        """One-hot draw by inversion of the cumulative distribution."""
        chosen = (mean.cumsum(1)[:, :-1] <= self.rng.random((len(mean), 1))).sum(1)
        h = np.zeros(mean.shape)
        h[np.arange(len(h)), chosen] = 1.0
        return h

    def record(self):
        """Score of each unit, e = (h - mean) / temperature = d log p / d (in W + b), into the traces."""
        for level in range(self.depth):
            e = self.h[level] - self.mean[level]
            e /= self.temperature[level]
            self._accumulate(level, e[:, :-1] if self.softmax and level == self.depth - 1 else e)

    def learn(self, reward):
        """Reward the output units, update them, and pass each unit below the change in the norm of its outgoing weights (RLDM equations 4 to 6).

        reward_i = sum_j p |w_ij|^(p-1) sign(w_ij) U_ij, where U precedes Adam but w is already updated. With `weight_max` 0 every unit gets the reward itself.
        """
        p = self.weight_max
        r = top = np.reshape(reward, (-1, 1))
        for level in reversed(range(self.depth)):
            U = self._apply(level, r)
            if not p:
                r = top
            elif level:
                w = self.W[level]
                r = p * np.einsum("bij,ij->bi", U[:, :-1], w if p == 2 else np.abs(w) ** (p - 1) * np.sign(w))


class ValueNet(_Net):
    """Critic released with Weight Maximization: deterministic softplus layers below one linear output, TD(lambda) by backpropagation."""

    def __init__(self, sizes, *, lr=1e-2, lr_end=None, anneal=0, lam=0.0, eps=1e-8, rng=None):
        super().__init__(sizes, sizes[1:], lr=lr, lr_end=lr_end, anneal=anneal, lam=lam, eps=eps, rng=rng)

    def forward(self, x):
        """Value of each stream's observation."""
        self._load(x)
        for level in range(self.depth):
            h = self.pot[level] = self.inputs[level] @ self.theta[level]
            if level < self.depth - 1:
                h = np.logaddexp(0.0, h)
                self.inputs[level + 1][:, :-1] = h
            self.mean[level] = self.h[level] = h
        return h[:, 0]

    def record(self):
        """z <- lam z + dv/dW: the potentials are those of the last forward pass, the weights of the way back are the present ones."""
        e = np.ones_like(self.pot[-1])
        for level in reversed(range(self.depth)):
            self._accumulate(level, e)
            if level:
                e = e @ self.W[level].T
                e *= sigmoid(self.pot[level - 1])

    def learn(self, error):
        """W <- W + Adam(error * z), the same TD error for all layers."""
        error = np.reshape(error, (-1, 1))
        for level in range(self.depth):
            self._apply(level, error)


def multiplexer(k, batch, rng):
    """Inputs in {-1,+1}: k address bits, most significant first, then 2^k data bits; the target is the addressed data bit."""
    bits = rng.integers(0, 2, (batch, k + 2**k))
    target = bits[np.arange(batch), k + bits[:, :k] @ (1 << np.arange(k)[::-1])]
    return 2.0 * bits - 1.0, 2.0 * target - 1.0


def multiplexer_steps(k=4, seed=1, batch=1, hidden=(64, 32), **settings):
    """Endless learning on the multiplexer with one Bernoulli output; yields the mean reward of each decision (+1 right, -1 wrong)."""
    rng = np.random.default_rng(seed)
    team = Team([k + 2**k, *hidden, 1], **{"out": "bernoulli", **MULTIPLEXER, **settings}, rng=rng)
    while True:
        inputs, targets = multiplexer(k, batch * 256, rng)
        for x, y in zip(inputs.reshape(256, batch, -1), targets.reshape(256, batch), strict=True):
            reward = np.where(team.forward(x)[:, 0], y, -y)
            team.record()
            team.learn(reward)
            yield reward[0] if batch == 1 else reward.mean()


def train_multiplexer(k=4, samples=800_000, seed=1, batch=1, **settings):
    """Mean reward over all samples, and over the last tenth of them."""
    steps = multiplexer_steps(k, seed, batch, **settings)
    rewards = np.fromiter(steps, float, samples // batch)
    return rewards.mean(), rewards[-max(len(rewards) // 10, 1) :].mean()


def gym_steps(env_id="CartPole-v1", seed=1, lam_actor=0.0, *, lam_critic=0.8, gamma=0.98, hidden=(64, 32), actor=None, critic=None, **settings):
    """Endless actor-critic learning; yields None for each decision, and the return for the one that ended its episode.

    The released treatment of episode ends: the terminal observation gets one decision of its own, whose action only resets the environment. The TD error is 0
    for that decision and for one cut by the time limit (Adam still steps). The traces are cleared at the first decision of the new episode.
    """
    import gymnasium

    rng, env = np.random.default_rng(seed), gymnasium.make(env_id)
    n_obs, n_actions = env.observation_space.shape[0], int(env.action_space.n)
    team = Team([n_obs, *hidden, n_actions], **(CARTPOLE_ACTOR if actor is None else actor), **settings, lam=gamma * lam_actor, rng=rng)
    value_net = ValueNet([n_obs, *hidden, 1], **(CARTPOLE_CRITIC if critic is None else critic), lam=gamma * lam_critic, rng=rng)
    x, v_before, total = env.reset(seed=seed)[0], None, 0.0
    reward, ended, was_ended, cut = 0.0, False, False, False
    while True:
        action, v = int(team.forward(x[None]).argmax()), value_net.forward(x[None])[0]
        if v_before is not None:
            error = np.array([0.0 if was_ended or cut else reward + gamma * v * (not ended) - v_before])
            value_net.learn(error)
            team.learn(error)
        if was_ended:
            value_net.clear(0.0)
            team.clear(0.0)
        value_net.record()
        team.record()
        v_before, was_ended, finished = v, ended, None
        if ended:
            x, reward, ended, cut = env.reset()[0], 0.0, False, False
        else:
            x, reward, terminated, truncated, _ = env.step(action)
            ended, cut, total = terminated or truncated, truncated and not terminated, total + reward
            if ended:
                finished, total = total, 0.0
        yield finished


def train_gym(env_id="CartPole-v1", episodes=1000, seed=1, lam_actor=0.0, **settings):
    """Returns of the first `episodes` episodes."""
    finished = (total for total in gym_steps(env_id, seed, lam_actor, **settings) if total is not None)
    return list(islice(finished, episodes))


def decisions_per_second(task, seconds=3.0, **settings):
    """Speed on "multiplexer" (k = 4, 20-64-32-1, one stream) or "cartpole" (critic and environment included): a decision is a pass, a trace and an update."""
    steps = {"multiplexer": multiplexer_steps, "cartpole": gym_steps}[task](**settings)
    for _ in range(500):
        next(steps)
    count, start = 0, perf_counter()
    while (elapsed := perf_counter() - start) < seconds:
        for _ in range(100):
            next(steps)
        count += 100
    return count / elapsed
