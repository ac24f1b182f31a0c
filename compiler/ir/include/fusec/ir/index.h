// Affine index expressions over a loop domain, and how views transform them. A view inside a kernel
// costs nothing when the index of its operand is again affine; reshapes make that a question of
// dividing an affine expression exactly, for which the domain may have to be split.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fusec/ops/graph.h"

namespace fusec::ir {

struct Domain {
  std::vector<int64_t> extents;
  std::vector<bool> reduced;
  std::vector<bool> walked;  // of panels: the rows of one; else all false
  size_t rank() const { return extents.size(); }
};

// offset + sum coef[d] * i[d], one coefficient a domain dimension.
struct Affine {
  int64_t offset = 0;
  std::vector<int64_t> coef;
  bool operator==(const Affine&) const = default;
  bool operator<(const Affine& o) const {
    return offset != o.offset ? offset < o.offset : coef < o.coef;
  }
};

using Index = std::vector<Affine>;  // one expression a tensor dimension

// "Split domain dimension `dim` so that its inner part has `inner` iterations, and try again."
struct SplitRequest {
  size_t dim;
  int64_t inner;
};

// Why an index could not be formed: a domain to refine, or a reason that no domain would mend.
struct IndexFailure {
  std::optional<SplitRequest> split;
  std::string reason;
};

// sum of index[d] * strides[d].
Affine linearize(const Index& index, const std::vector<int64_t>& strides, size_t rank);

// The row-major number of a point of the listed dimensions (in the listed order).
Affine linear_of_dims(const Domain& domain, const std::vector<size_t>& dims);

// Coordinates in `shape` of linear position `linear`. Throws IndexFailure.
Index delinearize(const Affine& linear, const Shape& shape, const Domain& domain);

// Index of the operand of a view from the index of its result. Throws IndexFailure.
Index view_operand_index(const ViewAttr& view, const Shape& operand, const Index& result,
                         const Domain& domain);

}  // namespace fusec::ir
