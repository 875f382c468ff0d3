"""A contrastive loss with labels, where one batch is a class of its own among samples that each are theirs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from structgan.precision import exact


@exact
def one_class(members: Tensor, others: Tensor, temperature: float) -> Tensor:
    """Members of one class attract each other and are repelled by the others (Jeong & Shin 2021, arXiv 2103.09742).

    With s the cosine over ``temperature``, P the members but i and A all samples but i, the mean over the members i of
    -1/|P| sum_{p in P} log(exp s_ip / sum_{a in A} exp s_ia). It is the supervised contrastive loss (Khosla et al.
    2020, arXiv 2004.11362) of the members' anchors alone: the others are negatives and nothing else.

    Shape: members (N, C) with N at least 2, others (M, C), of any length; a scalar at least 0.
    """
    members, others = F.normalize(members, dim=1), F.normalize(others, dim=1)
    own = torch.eye(len(members), dtype=torch.bool, device=members.device)
    among = (members @ members.T / temperature).masked_fill(own, -torch.inf)  # (N, N)
    everyone = torch.cat([among, members @ others.T / temperature], dim=1)
    attraction = among.masked_fill(own, 0).sum(1) / (len(members) - 1)
    return (everyone.logsumexp(1) - attraction).mean()
