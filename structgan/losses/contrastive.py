"""Contrastive losses: NT-Xent of two views, and SupCon with the anchors of one class only."""

import torch
import torch.nn.functional as F
from torch import Tensor

from structgan.precision import exact


@exact
def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Two views of an image attract each other and are repelled by all others (Chen et al. 2020, arXiv 2002.05709).

    With s the cosine over ``temperature`` and j(i) the other view of sample i, the mean over all 2N samples of
    -log(exp s_ij(i) / sum_{a != i} exp s_ia). Shape: both (N, C), row i of each a view of image i; a scalar at least 0.
    """
    samples = F.normalize(torch.cat([first, second]), dim=1)
    # a mask, because an index by Booleans would wait for the GPU at each step
    own = torch.eye(len(samples), dtype=torch.bool, device=samples.device)
    cosines = (samples @ samples.T / temperature).masked_fill(own, -torch.inf)  # (2N, 2N)
    other_view = torch.arange(len(samples), device=samples.device).roll(len(first))
    return F.cross_entropy(cosines, other_view)


@exact
def one_class(members: Tensor, others: Tensor, temperature: float) -> Tensor:
    """Members of one class attract each other and are repelled by the others (Jeong & Shin 2021, arXiv 2103.09742).

    With s the cosine over ``temperature``, P the members but i and A all samples but i, the mean over the members i of
    -1/|P| sum_{p in P} log(exp s_ip / sum_{a in A} exp s_ia): the supervised contrastive loss (Khosla et al. 2020,
    arXiv 2004.11362) of the members' anchors. Shape: members (N, C) with N at least 2, others (M, C); a scalar >= 0.
    """
    members, others = F.normalize(members, dim=1), F.normalize(others, dim=1)
    own = torch.eye(len(members), dtype=torch.bool, device=members.device)
    among = (members @ members.T / temperature).masked_fill(own, -torch.inf)  # (N, N)
    everyone = torch.cat([among, members @ others.T / temperature], dim=1)
    attraction = among.masked_fill(own, 0).sum(1) / (len(members) - 1)
    return (everyone.logsumexp(1) - attraction).mean()
