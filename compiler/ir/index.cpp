#include "fusec/ir/index.h"

#include <cstdlib>

namespace fusec::ir {
namespace {

Affine zero(size_t rank) { return {0, std::vector<int64_t>(rank, 0)}; }

// e = quotient * m + remainder with 0 <= remainder < m at every point of the domain, both affine.
// Terms that m divides go to the quotient; the rest must stay below m, else a dimension that
// crosses a multiple of m has to be split there.
std::pair<Affine, Affine> divide(const Affine& e, int64_t m, const Domain& domain) {
  Affine q = zero(domain.rank()), r = q;
  q.offset = e.offset >= 0 ? e.offset / m : -((-e.offset + m - 1) / m);
  r.offset = e.offset - q.offset * m;
  int64_t lo = r.offset, hi = r.offset;
  for (size_t d = 0; d < domain.rank(); ++d) {
    int64_t c = e.coef[d];
    if (c == 0) continue;
    if (c % m == 0) {
      q.coef[d] = c / m;
      continue;
    }
    r.coef[d] = c;
    (c > 0 ? hi : lo) += c * (domain.extents[d] - 1);
  }
  if (lo < 0 && lo >= -m && hi < 0) {  // a flip may leave the remainder one multiple too low
    r.offset += m, q.offset -= 1, lo += m, hi += m;
  }
  if (lo >= 0 && hi < m) return {q, r};
  for (size_t d = 0; d < domain.rank(); ++d) {
    int64_t c = std::abs(r.coef[d]);
    if (c == 0 || m % c != 0) continue;
    int64_t inner = m / c;
    if (inner > 1 && domain.extents[d] > inner && domain.extents[d] % inner == 0)
      throw IndexFailure{SplitRequest{d, inner}, ""};
  }
  throw IndexFailure{{}, "a reshape that is not affine over the kernel's domain"};
}

}  // namespace

Affine linearize(const Index& index, const std::vector<int64_t>& strides, size_t rank) {
  Affine out = zero(rank);
  for (size_t i = 0; i < index.size(); ++i) {
    out.offset += index[i].offset * strides[i];
    for (size_t d = 0; d < rank; ++d) out.coef[d] += index[i].coef[d] * strides[i];
  }
  return out;
}

Affine linear_of_dims(const Domain& domain, const std::vector<size_t>& dims) {
  Affine out = zero(domain.rank());
  int64_t stride = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    out.coef[dims[i]] = stride;
    stride *= domain.extents[dims[i]];
  }
  return out;
}

Index delinearize(const Affine& linear, const Shape& shape, const Domain& domain) {
  Index out(shape.size(), zero(domain.rank()));
  Affine rest = linear;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] <= 1) continue;  // one index, or none at all
    if (i == 0) {
      out[0] = rest;
      return out;
    }
    auto [q, r] = divide(rest, shape[i], domain);
    out[i] = r;
    rest = q;
  }
  return out;
}

Index view_operand_index(const ViewAttr& view, const Shape& operand, const Index& result,
                         const Domain& domain) {
  switch (view.kind) {
    case ViewKind::reshape:
      return delinearize(linearize(result, row_major_strides(view.shape), domain.rank()), operand,
                         domain);
    case ViewKind::permute: {
      Index out(operand.size());
      for (size_t i = 0; i < view.dims.size(); ++i) out[view.dims[i]] = result[i];
      return out;
    }
    case ViewKind::broadcast: {
      Index out(operand.size(), zero(domain.rank()));
      for (size_t i = 0; i < view.dims.size(); ++i)
        if (view.dims[i] >= 0 && operand[view.dims[i]] == view.shape[i] && view.shape[i] != 1)
          out[view.dims[i]] = result[i];
      return out;
    }
    case ViewKind::slice: {
      Index out = result;
      for (size_t i = 0; i < out.size(); ++i) {
        for (int64_t& c : out[i].coef) c *= view.step[i];
        out[i].offset = out[i].offset * view.step[i] + view.start[i];
      }
      return out;
    }
  }
  return {};
}

}  // namespace fusec::ir
