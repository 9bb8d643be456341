"""The k-bit multiplexer: k address bits choose one of 2^k data bits; the answer is that bit.

Inputs are k + 2^k values in {-1, +1}, the address first, most significant bit first; reward +1 right, -1 wrong; chance 0, perfect 1. Action 1 means +1.
Source: ALGORITHMS section 11 (encodings of the released Weight Maximization code). Question n of a stream is a keyed draw.
"""

import numpy as np

from asyncnet.chance import TASK, words
from asyncnet.kernel import entry
from asyncnet.tasks.outcome import Outcome

REMEMBERED = 4096  # answers kept for actions that come late


@entry
def pose(k, seed, n, out, answers):
    """Write question n of every stream into out (B, k + 2^k) and its answer, 0 or 1, into answers (B,)."""
    for b in range(out.shape[0]):
        bits = out.shape[1]
        for block in range((bits + 127) // 128):
            w = words(seed, TASK, block, b, n)
            for i in range(block * 128, min(bits, block * 128 + 128)):
                word = w[(i % 128) // 32]
                out[b, i] = 1.0 if (word >> np.uint64(i % 32)) & np.uint64(1) else -1.0
        address = 0
        for i in range(k):
            address = 2 * address + (1 if out[b, i] > 0.0 else 0)
        answers[b] = 1 if out[b, k + address] > 0.0 else 0


@entry
def judge(k, seed, n, observation, answers, actions, reward):
    """Write the rewards of actions on question n, and pose the next."""
    for b in range(reward.size):
        reward[b] = 1.0 if actions[b] == answers[n % REMEMBERED, b] else -1.0
    pose(k, seed, n + 1, observation, answers[(n + 1) % REMEMBERED])


class Multiplexer:
    """Independent questions, one a decision; the whole run is one episode."""

    def __init__(self, k: int, streams: int, seed: int) -> None:
        self.k, self.seed, self.asked = k, seed, 0
        self.observation = np.zeros((streams, k + 2**k))
        self.episode = np.zeros(streams)
        self._answers = np.zeros((REMEMBERED, streams), dtype=np.int64)
        self._all = np.ones(streams)
        pose(k, seed, 0, self.observation, self._answers[0])

    def step(self, actions: np.ndarray) -> Outcome:
        reward = np.empty(len(actions))
        judge(self.k, self.seed, self.asked, self.observation, self._answers, actions, reward)
        self.asked += 1
        return Outcome(reward, self._all, self._all, [])

    def grade(self, question: int, actions: np.ndarray) -> np.ndarray:
        """(B,) rewards of answers to a question asked at most REMEMBERED questions ago."""
        return np.where(actions == self._answers[question % REMEMBERED], 1.0, -1.0)

    def state(self) -> np.ndarray:
        return np.concatenate(([float(self.asked)], self.observation.ravel()))

    def close(self) -> None:
        """Nothing to close."""
