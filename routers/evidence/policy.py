"""Ask on or accept: a sequential policy whose next step depends on what came back.

A state is the set S of members asked and what they answered. Fitted by backward induction over all sets
(`pointsman.routers.training.evidence_policy`), the policy knows of every state, linear in its features,

    a(S)        the probability that the leading answer is right,
    q_i(S, e)   that of the answer accepted in the end, when e is asked next and policy i is followed from there,
    N_i(S, e)   the expected number of calls to each member until then,

for a handful of policies i, each fitted for one exchange rate between quality and spending. The request's own prices u
(of one call to each member, in units of quality: cost, latency and energy at the caller's weights, the very terms by
which a single expert is chosen) decide among them:

    accept when a(S) >= max_e q_i(S, e) - u · N_i(S, e), else ask the e of the maximum,

with the policy i whose rate is nearest to the request's. Keeping calls apart from quality makes one fit serve every
price vector, also one that prices other things than the fit did: successor features (Barreto et al., NeurIPS 2017,
arXiv 1606.05312). Taking the best of all policies, as they do, overrates: the maximum over noisy estimates is biased
upwards, and asks too much (docs/design/0013-answers-as-evidence.md). Cascade routing (arXiv 2410.10347) decides by the
same kind of trade; it looks at quality estimates, this policy at what asking was worth on past outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Figures, FloatArray, Floats, Ints
from pointsman.routers.evidence.state import State, read_state
from pointsman.routers.evidence.vote import VoteModel


@dataclass(frozen=True, slots=True, eq=False)
class StepValues:
    """What accepting and asking on promise, for n prompts in states of the same set of members.

    Attributes:
        state: What was read.
        accept: a(S), shape (n,); -inf where there is no answer to accept.
        members: Who may still be asked, r of them.
        quality: q_i(S, e), shape (n, policies, r).
        calls: N_i(S, e), shape (n, policies, r, k); at least 1 for e itself.
    """

    state: State
    accept: Floats
    members: tuple[int, ...]
    quality: Floats
    calls: Floats

    def value(self, prices: Figures, policy: Ints) -> Floats:
        """Utility of asking each remaining member next and following a policy from there.

        Args:
            prices: Of one call to each member in units of quality, inf for one that may not be asked, shape (n, k).
            policy: Index of the policy for each prompt, shape (n,).

        Returns:
            Shape (n, r), -inf for a member that may not be asked.
        """
        every = np.arange(len(policy))
        barred = ~np.isfinite(prices)
        # A continuation that counts on a barred member is valued as if the call cost the whole of quality.
        spent = np.einsum("nrk,nk->nr", self.calls[every, policy], np.where(barred, 1.0, prices))
        return np.where(barred[:, list(self.members)], -np.inf, self.quality[every, policy] - spent)


@dataclass(frozen=True, slots=True, eq=False)
class SequentialPolicy:
    """The fitted policy.

    Attributes:
        members: Artefact names of the experts it may ask, k of them.
        vote: Over the members.
        spending: What one call to each member typically costs, in units of the best single expert's, shape (k,).
        rates: What one such unit was worth in quality when policy i was fitted, ascending, shape (policies,).
        weights: Per set of members (bit e set: member e was asked) the linear maps, shape (features, outputs).
    """

    members: tuple[str, ...]
    vote: VoteModel
    spending: Floats
    rates: Floats
    weights: tuple[FloatArray, ...]

    def nearest(self, prices: Figures) -> Ints:
        """The policy fitted for the rate nearest to these prices, by ratio; shape (n,). Barred members do not count."""
        finite = np.isfinite(prices)
        paid = np.where(finite, prices, 0.0).sum(axis=1)
        usual = np.where(finite, self.spending, 0.0).sum(axis=1)
        rate = np.maximum(paid / np.where(usual > 0, usual, 1.0), 1e-9)
        return np.asarray(np.abs(np.log(self.rates)[None, :] - np.log(rate)[:, None]).argmin(axis=1))

    def outlook(self, asked: tuple[int, ...], quality: Figures, codes: Ints, completion_tokens: Figures) -> StepValues:
        """Look ahead from the states of n prompts; arguments as `read_state`."""
        state = read_state(self.vote, asked, quality, codes, completion_tokens)
        k, n = len(self.members), len(state.features)
        left = tuple(e for e in range(k) if e not in asked)
        told = state.features @ self.weights[set_index(asked)]
        accept = np.where(state.leader >= 0, np.clip(told[:, 0], 0.0, 1.0), -np.inf)
        ahead = told[:, 1:].reshape(n, len(self.rates), len(left), 1 + k)
        calls = np.clip(ahead[..., 1:], 0.0, 1.0)
        calls[..., list(asked)] = 0.0
        for position, member in enumerate(left):
            calls[:, :, position, member] = 1.0
        return StepValues(state, accept, left, np.clip(ahead[..., 0], 0.0, 1.0), calls)

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays to store."""
        return {
            **self.vote.tensors(),
            "evidence.spending": self.spending.astype(np.float32),
            "evidence.rates": self.rates.astype(np.float32),
            "evidence.weights": np.concatenate([part.ravel() for part in self.weights]).astype(np.float32),
        }

    def spec(self) -> Mapping[str, Any]:
        """What the manifest says of it."""
        return {
            "kind": "sequential",
            "members": list(self.members),
            "features": [len(part) for part in self.weights],
        }

    @classmethod
    def from_parts(cls, spec: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> SequentialPolicy:
        """From a manifest and stored arrays.

        Raises:
            KeyError: A tensor is missing.
            ValueError: They do not fit together.
        """
        members = tuple(str(name) for name in spec["members"])
        rates = tensors["evidence.rates"].astype(np.float64)
        flat = tensors["evidence.weights"].astype(np.float32)
        weights, at = [], 0
        for index, features in enumerate(spec["features"]):
            outputs = 1 + len(rates) * (len(members) - index.bit_count()) * (1 + len(members))
            weights.append(flat[at : at + features * outputs].reshape(features, outputs))
            at += features * outputs
        if at != flat.size or len(weights) != 2 ** len(members):
            raise ValueError("evidence.weights has another size than its manifest says")
        spending = tensors["evidence.spending"].astype(np.float64)
        return cls(members, VoteModel.from_tensors(tensors), spending, rates, tuple(weights))


def set_index(asked: tuple[int, ...]) -> int:
    """A set of members as a number: bit e for member e."""
    return sum(1 << member for member in asked)


def set_members(index: int) -> tuple[int, ...]:
    """The members of a numbered set, ascending."""
    return tuple(member for member in range(index.bit_length()) if index >> member & 1)
