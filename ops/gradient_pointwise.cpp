// Gradients of map nodes: the gradient column of pointwise.def, instantiated with Tensors that
// remember the location of the op being differentiated. Before: y = silu(x) at mlp.cpp:12, and g.
// After: the nodes of g * (sigmoid(x) + y * (1 - sigmoid(x))), all at mlp.cpp:12. Refuses `none`.
#include "fusec/ops/ops.h"
#include "gradient_rules.h"

namespace fusec {

namespace gradient_column {

// A tensor whose every use is recorded at `loc`. The table's expressions find the functions and
// operators below before those of ops.h, so no location of the table itself leaks into a graph.
struct Located {
  Tensor tensor;
  SourceLoc loc;
};

// What the word `none` of the table stands for.
struct None {};
constexpr None none;

#define FUSEC_UNARY(name, ...)                                                     \
  [[maybe_unused]] static Located name(const Located& x) {                         \
    return {pointwise(Pointwise::name, {x.tensor}, x.loc), x.loc};                 \
  }
#define FUSEC_BINARY(name, ...)                                                    \
  [[maybe_unused]] static Located name(const Located& a, const Located& b) {       \
    return {pointwise(Pointwise::name, {a.tensor, b.tensor}, a.loc), a.loc};       \
  }                                                                                \
  [[maybe_unused]] static Located name(const Located& a, double b) {               \
    return {pointwise(Pointwise::name, At(a.tensor, a.loc), Operand(b)), a.loc};   \
  }                                                                                \
  [[maybe_unused]] static Located name(double a, const Located& b) {               \
    return {pointwise(Pointwise::name, a, At(b.tensor, b.loc)), b.loc};            \
  }
#define FUSEC_COMPARE(name, ...) FUSEC_BINARY(name)
#define FUSEC_BITS(name, ...) FUSEC_BINARY(name)
#define FUSEC_TERNARY(name, ...)                                                   \
  [[maybe_unused]] static Located name(const Located& a, const Located& b,         \
                                       const Located& c) {                         \
    return {pointwise(Pointwise::name, {a.tensor, b.tensor, c.tensor}, a.loc), a.loc}; \
  }
#include "fusec/ops/pointwise.def"

#define FUSEC_OPERATOR(symbol, name)                                                        \
  [[maybe_unused]] static Located operator symbol(const Located& a, const Located& b) {     \
    return name(a, b);                                                                      \
  }                                                                                         \
  [[maybe_unused]] static Located operator symbol(const Located& a, double b) {             \
    return name(a, b);                                                                      \
  }                                                                                         \
  [[maybe_unused]] static Located operator symbol(double a, const Located& b) {             \
    return name(a, b);                                                                      \
  }
FUSEC_OPERATOR(+, add)
FUSEC_OPERATOR(-, sub)
FUSEC_OPERATOR(*, mul)
FUSEC_OPERATOR(/, div)
FUSEC_OPERATOR(<, lt)
FUSEC_OPERATOR(<=, le)
FUSEC_OPERATOR(>, gt)
FUSEC_OPERATOR(>=, ge)
FUSEC_OPERATOR(==, eq)
FUSEC_OPERATOR(!=, ne)
#undef FUSEC_OPERATOR
static Located operator-(const Located& a) { return neg(a); }

static Tensor take(const Located& x, const Node&) { return x.tensor; }
[[noreturn]] static Tensor take(None, const Node& node) { fail_no_gradient(node); }

// Evaluates an expression only if its operand wants it, so frozen operands record nothing.
#define FUSEC_WANT(i, expression) \
  if (call.want[i]) out[i] = take(expression, call.node)

static std::vector<Tensor> evaluate(const GradientCall& call) {
  SourceLoc loc = call.node.loc;
  std::vector<Tensor> out(call.node.inputs.size());
  [[maybe_unused]] Located g{call.g, loc}, y{Tensor(&call.graph, call.result), loc};
  auto operand = [&](size_t i) { return Located{call.operand(i), loc}; };
  switch (call.node.as<MapAttr>().op) {
#define FUSEC_UNARY(name, doc, value, grad_x, ...)                     \
  case Pointwise::name: {                                              \
    [[maybe_unused]] Located x = operand(0);                           \
    FUSEC_WANT(0, (grad_x));                                           \
    break;                                                             \
  }
#define FUSEC_BINARY(name, doc, value, grad_a, grad_b, ...)            \
  case Pointwise::name: {                                              \
    [[maybe_unused]] Located a = operand(0), b = operand(1);           \
    FUSEC_WANT(0, (grad_a));                                           \
    FUSEC_WANT(1, (grad_b));                                           \
    break;                                                             \
  }
#define FUSEC_COMPARE(name, ...) \
  case Pointwise::name: fail_no_gradient(call.node);
#define FUSEC_BITS(name, ...) FUSEC_COMPARE(name)
#define FUSEC_TERNARY(name, doc, value, grad_a, grad_b, grad_c, ...)   \
  case Pointwise::name: {                                              \
    [[maybe_unused]] Located a = operand(0), b = operand(1), c = operand(2); \
    FUSEC_WANT(0, (grad_a));                                           \
    FUSEC_WANT(1, (grad_b));                                           \
    FUSEC_WANT(2, (grad_c));                                           \
    break;                                                             \
  }
#include "fusec/ops/pointwise.def"
  }
  return out;
}

#undef FUSEC_WANT

}  // namespace gradient_column

std::vector<Tensor> map_gradients(const GradientCall& call) {
  return gradient_column::evaluate(call);
}

}  // namespace fusec
