// Products that fuse_gemms looks at: contractions seen from one operand, and which products of the
// backward pass belong to one of the forward pass.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels.h"

namespace fusec::passes {

// A contraction seen from one operand: the labels of that one are a, b, c, ... in order, the one
// that only the other has is z.
struct Product {
  ir::ContractOp op;
  mlir::Value shared, other;
  std::string other_labels, out;
  bool other_is_rhs = true;

  size_t other_axis() const { return other_labels.find('z'); }
  size_t out_axis() const { return out.find('z'); }
  int64_t width() const { return ir::type_of(other).shape[other_axis()]; }
  mlir::Value result() const { return op->getResult(0); }
  mlir::Location loc() const { return op->getLoc(); }
  std::string labels(const std::string& mine) const {
    return (other_is_rhs ? mine + "," + other_labels : other_labels + "," + mine) + "->" + out;
  }
};

// "abc..." of n labels.
std::string letters(size_t n);

// lhs: seen from the first operand. Null where a label repeats, or where the other operand has not
// exactly one label of its own.
std::optional<Product> product_of(ir::ContractOp op, bool lhs);

// A parameter, behind casts and views that keep it whole.
bool is_weight(mlir::Value v);
// A parameter that is held in 16 bits and widened for its products: a CPU's GEMM reads it as it is.
bool is_held_narrow(mlir::Value v);
// A product of 16-bit tensors in f32, to be rounded behind its bias (mixed_precision): its GEMM
// reads the narrow tensors and takes the bias along, if nothing is put between.
bool is_rounded_later(ir::ContractOp op);
// Whether other products contract the weight over the same axes.
bool is_tied(const Product& product);
// Whether anything but kernels reads it, which takes a dense tensor.
bool read_by_others(mlir::Value v);
// Bytes that a copy of a part of a concat moves; 0 where a kernel may write it in place.
int64_t copy_bytes(mlir::Value part);
// `op` if it adds two tensors, else null.
ir::MapOp as_sum(mlir::Operation* op);

// One weight's products: forward, and those of its backward pass that are found.
struct Member {
  Product forward;
  std::optional<Product> input_grad;   // seen from the gradient dy, the other operand is the weight
  std::optional<Product> weight_grad;  // seen from the activation, the other operand is dy
  llvm::SmallVector<mlir::Operation*> chain;       // casts and reshapes from input_grad to the sum
  mlir::Value leaf, sum;               // the term, and the whole sum it is part of

  mlir::Value dy() const { return weight_grad ? weight_grad->other : input_grad->shared; }
};

using Group = std::vector<Member>;

// Whether the input gradients of all members are terms of one sum, made alike.
bool summed(const Group& group);
bool have_weight_grads(const Group& group);

// Gives members the products of their backward pass; a weight gradient belongs to one of them.
class GradientFinder {
 public:
  void find(Member& m);

 private:
  void take_weight_grad(Member& m, ir::ContractOp c, mlir::Value dy);

  llvm::SmallPtrSet<mlir::Operation*, 32> claimed_;
};

}  // namespace fusec::passes
