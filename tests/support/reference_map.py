"""Synchronous NumPy reference of MAP Propagation, written from the published formulas.

It shares nothing with the package under test: it is what the package is compared with, in values and in speed. Source: Chung, MAP Propagation (2021),
algorithms 1 and 2, and the order of operations, gate, cut-offs and handling of episodes that were released with it. Arrays are (streams, units), the bias
is a layer's last row.
"""

from time import perf_counter

import numpy as np

from support.reference import _Net, multiplexer, sigmoid

CARTPOLE_ACTOR = {"variance": (0.03, 0.1), "lr": (1e-2, 1e-5, 1e-6), "lr_end": (1e-3, 1e-6, 1e-8), "anneal": 50_000, "temperature": 2.0}
CARTPOLE_CRITIC = {"variance": (0.03, 0.1, 0.1), "lr": (2e-2, 2e-5, 2e-6), "lr_end": (2e-3, 2e-6, 2e-7), "anneal": 50_000}
MULTIPLEXER = {"variance": (0.3, 1.0), "lr": (4e-2, 4e-5, 4e-6)}


class MapNet(_Net):
    """Gaussian softplus units below a softmax choice, or below one linear Gaussian unit with the gate 1 / (sample - mean): a value network."""

    def __init__(self, sizes, out="softmax", *, variance, temperature=1.0, rounds=20, step=0.5, lr=1e-2, lr_end=None, anneal=0, lam=0.0, eps=1e-9, rng=None):
        super().__init__(sizes, sizes[1:], lr=lr, lr_end=lr_end, anneal=anneal, lam=lam, eps=eps, rng=rng)
        for b in self.b:
            b[:] = 0.0
        self.softmax, self.temperature, self.rounds, self.step = out == "softmax", temperature, rounds, step
        self.variance = [*variance, 1.0][: self.depth]
        self.value = None

    def _expect(self, level):
        """Potential and mean of a layer for what lies in its inputs."""
        pot = self.pot[level] = self.inputs[level] @ self.theta[level]
        if level < self.depth - 1:
            mean = np.logaddexp(0.0, pot)
        elif self.softmax:
            mean = pot / self.temperature
            mean -= mean.max(1, keepdims=True)
            np.exp(mean, out=mean)
            mean /= mean.sum(1, keepdims=True)
        else:
            mean = pot
        self.mean[level] = mean
        return mean

    def _error(self, level):
        """d log p(h | below) / d potential."""
        e = self.h[level] - self.mean[level]
        if level < self.depth - 1:
            e *= sigmoid(self.pot[level])
            e /= self.variance[level]
        else:
            e /= self.temperature if self.softmax else self.variance[level]
        return e

    def forward(self, x):
        """Sample every layer from the one below; returns the action's one-hot, or the value (the mean of the output)."""
        self._load(x)
        for level in range(self.depth):
            mean = self._expect(level)
            if self.softmax and level == self.depth - 1:
                chosen = (mean.cumsum(1)[:, :-1] <= self.rng.random((len(mean), 1))).sum(1)
                h = np.zeros(mean.shape)
                h[np.arange(len(h)), chosen] = 1.0
            else:
                h = mean + self.variance[level] ** 0.5 * self.rng.standard_normal(mean.shape)
            self.h[level] = h
            if level < self.depth - 1:
                self.inputs[level + 1][:, :-1] = h
        self.value = self.mean[-1][:, 0].copy()
        return h if self.softmax else self.value

    def relax(self):
        """Move all hidden layers at once towards their mode, `rounds` times; means from below are refreshed after each."""
        hidden = range(self.depth - 1)
        for _ in range(self.rounds):
            drives = [self._error(level + 1) @ self.W[level + 1].T for level in hidden]
            for level in hidden:
                drive, h = drives[level], self.h[level]
                drive *= self.variance[level]
                drive += self.mean[level]
                drive -= h
                drive *= self.step
                h += drive
                self.inputs[level + 1][:, :-1] = h
            for level in range(self.depth):
                self._expect(level)

    def record(self):
        """Traces of gate * in (x) e at the values reached."""
        gate = 1.0 if self.softmax else 1.0 / (self.h[-1] - self.mean[-1])
        for level in range(self.depth):
            self._accumulate(level, gate * self._error(level))

    def learn(self, credit):
        """W <- W + Adam(average over streams of credit * z), the same credit for all layers."""
        credit = np.reshape(credit, (-1, 1))
        for level in range(self.depth):
            self._apply(level, credit)


def multiplexer_steps(k=5, seed=1, batch=128, hidden=(64, 32), **settings):
    """Endless learning on the multiplexer; yields the mean reward of each update."""
    rng = np.random.default_rng(seed)
    net = MapNet([k + 2**k, *hidden, 2], **{**MULTIPLEXER, **settings}, rng=rng)
    while True:
        inputs, targets = multiplexer(k, batch * 16, rng)
        for x, y in zip(inputs.reshape(16, batch, -1), targets.reshape(16, batch), strict=True):
            reward = np.where(net.forward(x).argmax(1) * 2.0 - 1.0 == y, 1.0, -1.0)
            net.relax()
            net.record()
            net.learn(reward)
            yield reward.mean()


def gym_steps(env_id="CartPole-v1", seed=1, *, lam=0.95, gamma=0.98, hidden=(64, 32), actor=None, critic=None):
    """Endless actor-critic learning; yields None for each decision, and the return for the one that ended its episode."""
    import gymnasium

    rng, env = np.random.default_rng(seed), gymnasium.make(env_id)
    n_obs, n_actions = env.observation_space.shape[0], int(env.action_space.n)
    team = MapNet([n_obs, *hidden, n_actions], **(CARTPOLE_ACTOR if actor is None else actor), lam=gamma * lam, rng=rng)
    values = MapNet([n_obs, *hidden, 1], "linear", **(CARTPOLE_CRITIC if critic is None else critic), lam=gamma * lam, rng=rng)
    x, v_before, total = env.reset(seed=seed)[0], None, 0.0
    reward, ended, was_ended, cut = 0.0, False, False, False
    while True:
        action, v = int(team.forward(x[None]).argmax()), values.forward(x[None])[0]
        if v_before is not None:
            error = np.array([0.0 if was_ended or cut else reward + gamma * v * (not ended) - v_before])
            values.learn(error)
            team.learn(error)
        for net in (values, team):
            if was_ended:
                net.clear(0.0)
            net.relax()
            net.record()
        v_before, was_ended, finished = v, ended, None
        if ended:
            x, reward, ended, cut = env.reset()[0], 0.0, False, False
        else:
            x, reward, terminated, truncated, _ = env.step(action)
            ended, cut, total = terminated or truncated, truncated and not terminated, total + reward
            if ended:
                finished, total = total, 0.0
        yield finished


def decisions_per_second(task, seconds=3.0, **settings):
    """Speed on "multiplexer" (k = 5, 128 streams: updates) or "cartpole" (MAP critic and environment included)."""
    steps = {"multiplexer": multiplexer_steps, "cartpole": gym_steps}[task](**settings)
    for _ in range(20):
        next(steps)
    count, start = 0, perf_counter()
    while (elapsed := perf_counter() - start) < seconds:
        for _ in range(10):
            next(steps)
        count += 10
    return count / elapsed
