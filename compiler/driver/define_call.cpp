// What each library call of plan.h should write: attention, gather and scatter through the oracle
// (one node each), gemm by plain loops over its strides, copy and fill as they say. Large products
// are sampled: every n-th row of C, one batch item and key head of attention.
#include <algorithm>
#include <cmath>

#include "fusec/ops/ops.h"
#include "fusec/ops/tolerance.h"
#include "validate.h"

namespace fusec::driver {
namespace {

constexpr double kMostWork = 2e8;  // multiply-adds that one call may cost here

DType dtype_attribute(const LibraryCall& call, const char* key) {
  std::optional<DType> t = parse_dtype(call.text(key));
  if (!t) fail_internal("library call " + call.name + ": no element type " + call.text(key));
  return *t;
}

// One op as a graph of its own.
class OneNode {
 public:
  void input(Shape shape, DType type, std::vector<double> values) {
    bounded(std::move(shape), type, exactly(std::move(values)));
  }
  void bounded(Shape shape, DType type, BoundedData data) {
    std::string name = "x" + std::to_string(inputs_.size());
    inputs_.push_back(graph_.input(name, std::move(shape), type).value());
    feeds_[name] = std::move(data);
  }
  std::vector<BoundedData> evaluate(OpKind kind, Attr attr, size_t results) {
    Tensor first = graph_.append(kind, std::move(attr), inputs_, SourceLoc());
    std::vector<Tensor> wanted;
    for (size_t r = 0; r < results; ++r)
      wanted.push_back(Tensor(&graph_, {first.value().node, static_cast<int32_t>(r)}));
    return evaluate_bounded(graph_, feeds_, wanted);
  }

 private:
  Graph graph_;
  std::vector<Value> inputs_;
  BoundedFeeds feeds_;
};

// t = tanh(c (x + a x^3)) of gelu's tanh form, and its error. cuBLASLt may take it from the
// hardware where the result has 16 bits (tanh.approx: 2^-11 of tanh, PTX ISA); the CPU's is within
// the bounds of the op.
constexpr double kGeluC = 0.7978845608028654, kGeluA = 0.044715;
double gelu_tanh(double x) { return std::tanh(kGeluC * (x + kGeluA * x * x * x)); }
double tanh_error(double t, DType type, bool on_gpu) {
  return type == DType::f32 || !on_gpu ? 0 : 0x1p-11 * std::fabs(t);
}

// gelu(x) = 0.5 x (1 + t) changes by 0.5 |x| times as much as t does.
void through_gelu(BoundedData& sums, DType type, bool on_gpu) {
  auto count = static_cast<int64_t>(sums.value.size());
  std::vector<double> moved;
  for (int64_t i = 0; i < count; ++i)
    moved.push_back(0.5 * (std::fabs(sums.value[i]) + sums.error[i]) *
                    tanh_error(gelu_tanh(sums.value[i]), type, on_gpu));
  OneNode node;
  node.bounded({count}, DType::f32, std::move(sums));
  sums = std::move(node.evaluate(OpKind::map, MapAttr{Pointwise::gelu}, 1)[0]);
  for (int64_t i = 0; i < count; ++i) sums.error[i] += moved[i] >= 0 ? moved[i] : tolerance::kInf;
}

// Times the slope of gelu at `pre`. A product of f32 sums is not rounded before it is multiplied,
// so that its own error alone is scaled, and one f32 rounding comes with the product. The slope
// 0.5 (1 + t) + 0.5 c x (1 - t^2) (1 + 3 a x^2) changes by at most 0.5 + c |x t| (1 + 3 a x^2)
// times as much as t does.
void times_slope(BoundedData& sums, const std::vector<double>& pre, DType type, bool on_gpu) {
  auto count = static_cast<int64_t>(pre.size());
  OneNode node;
  node.input({count}, DType::f32, pre);
  BoundedData slope = std::move(node.evaluate(OpKind::map, MapAttr{Pointwise::gelu_slope}, 1)[0]);
  for (int64_t i = 0; i < count; ++i) {
    double x = pre[i], t = gelu_tanh(x);
    double by_t = 0.5 + kGeluC * std::fabs(x * t) * (1 + 3 * kGeluA * x * x);
    double moved = by_t * tanh_error(t, type, on_gpu);
    double s = slope.value[i], es = slope.error[i] + moved;
    double &v = sums.value[i], &e = sums.error[i];
    e = std::fabs(s) * e + std::fabs(v) * es + e * es;
    v *= s;
    e += tolerance::unit_roundoff(DType::f32) * (std::fabs(v) + e);
    if (!(e >= 0)) e = tolerance::kInf;
  }
}

// Sums of a [rows, columns] matrix over its rows (`across`), or of [columns, rows] over its
// columns, rounded to `type`.
ExpectedWrite sums_over(const BoundedData& x, int64_t rows, int64_t columns, bool across,
                        DType type) {
  ExpectedWrite out{0, type, {}, {}, 0};
  double growth = tolerance::reduction_growth(static_cast<double>(rows));
  for (int64_t j = 0; j < columns; ++j) {
    double sum = 0, most = 0, error = 0;
    for (int64_t r = 0; r < rows; ++r) {
      int64_t i = across ? r * columns + j : j * rows + r;
      sum += x.value[i];
      most += std::fabs(x.value[i]);
      error += x.error[i];
    }
    error += growth * tolerance::unit_roundoff(DType::f32) * most;
    out.data.value.push_back(sum);
    out.data.error.push_back(error >= 0 ? error : tolerance::kInf);
  }
  round_to_storage(out.data, type);
  return out;
}

// What is in `sums` before rounding becomes what the epilogue stores: C, and aux if there is one.
// `sum_error`: of the sums, by the sum of the absolute values of their terms.
std::vector<ExpectedWrite> finish_gemm(const LibraryCall& call, const StepReader& reader,
                                       ExpectedWrite sums, double sum_error) {
  GemmEpilogue e = epilogue_of(call);
  int64_t n = call.integer("n"), ldc = call.integer("ldc"), stride = call.integer("stride_c");
  auto count = static_cast<int64_t>(sums.at.size());
  auto plus = [&](auto of) {
    for (int64_t i = 0; i < count; ++i) {
      double& v = sums.data.value[i];
      v += of(sums.at[i]);
      sums.data.error[i] += tolerance::unit_roundoff(DType::f32) * std::fabs(v);
    }
  };
  std::vector<double> bias;
  if (e.bias) bias = reader.read(call.args[e.bias_at()], sums.type, n);
  auto bias_of = [&, many = call.integer("batch") > 1](int64_t at) {
    return bias[(many ? at % stride : at) % ldc];
  };
  std::vector<double> addend;
  if (e.add) addend = reader.read(call.args[e.addend_at()], sums.type);
  // Some of cuBLASLt's algorithms store the product with its bias in C's type before they add the
  // addend, others with the addend before the rest, as a graph does that is not fused.
  for (int64_t i = 0; reader.on_gpu() && e.any() && i < count; ++i) {
    double v = sums.data.value[i], with_bias = v + (e.bias ? bias_of(sums.at[i]) : 0);
    double with_addend = v + (e.add ? addend[sums.at[i]] : 0);
    sums.data.error[i] += tolerance::storage_roundoff(sums.type) *
                              std::max(std::fabs(with_bias), std::fabs(with_addend)) +
                          tolerance::storage_underflow(sums.type);
  }
  if (e.add) {
    // A device may begin its sum with the addend, which is then one term more of it and goes
    // through every rounding of the sum.
    for (int64_t i = 0; i < count; ++i) {
      double more = sum_error * std::fabs(addend[sums.at[i]]);
      sums.data.error[i] += more >= 0 ? more : tolerance::kInf;
    }
    plus([&](int64_t at) { return addend[at]; });
  }
  if (e.bias) plus(bias_of);
  std::vector<ExpectedWrite> out = {sums};
  if (e.aux) out.push_back(sums), out[1].argument = e.aux_at();
  if (e.gelu) through_gelu(out[0].data, sums.type, reader.on_gpu());
  if (e.dgelu) {
    std::vector<double> pre = reader.read(call.args[e.pre_at()], sums.type), at;
    for (int64_t i : sums.at) at.push_back(pre[i]);
    times_slope(out[0].data, at, sums.type, reader.on_gpu());
  }
  for (ExpectedWrite& w : out) round_to_storage(w.data, w.type);
  if (e.bgrad && sums.left_out == 0) {
    BoundedData terms = out[0].data;  // cuBLASLt does not say whether it sums before it rounds
    for (int64_t i = 0; i < count; ++i)
      terms.error[i] += tolerance::unit_roundoff(sums.type) * std::fabs(terms.value[i]);
    ExpectedWrite columns = sums_over(terms, call.integer("m"), n, true, sums.type);
    columns.argument = e.sums_at();
    out.push_back(std::move(columns));
  }
  return out;
}

// The sums over k of an operand: its elements are exact.
ExpectedWrite operand_sums(const LibraryCall& call, const StepReader& reader) {
  GemmEpilogue e = epilogue_of(call);
  bool trans = call.integer(e.bgrada ? "trans_a" : "trans_b") != 0, across = trans == e.bgrada;
  int64_t length = call.integer(e.bgrada ? "m" : "n"), k = call.integer("k");
  int64_t ld = call.integer(e.bgrada ? "lda" : "ldb");
  std::vector<double> x = reader.read(call.args[e.bgrada ? 0 : 1],
                                      dtype_attribute(call, e.bgrada ? "type_a" : "type_b"));
  std::vector<double> dense;
  for (int64_t row = 0; row < (across ? k : length); ++row)
    for (int64_t col = 0; col < (across ? length : k); ++col) dense.push_back(x[row * ld + col]);
  ExpectedWrite out =
      sums_over(exactly(std::move(dense)), k, length, across, dtype_attribute(call, "type_c"));
  out.argument = e.sums_at();
  return out;
}

std::vector<ExpectedWrite> gemm(const LibraryCall& call, const StepReader& reader) {
  int64_t m = call.integer("m"), n = call.integer("n"), k = call.integer("k");
  int64_t batch = call.integer("batch"), lda = call.integer("lda"), ldb = call.integer("ldb");
  int64_t ldc = call.integer("ldc");
  bool trans_a = call.integer("trans_a") != 0, trans_b = call.integer("trans_b") != 0;
  double alpha = call.number("alpha"), beta = call.number("beta");
  ExpectedWrite out{2, dtype_attribute(call, "type_c"), {}, {}, 0};
  std::vector<double> a = reader.read(call.args[0], dtype_attribute(call, "type_a"));
  std::vector<double> b = reader.read(call.args[1], dtype_attribute(call, "type_b"));
  std::vector<double> c;
  if (beta != 0) c = reader.read(call.args[2], out.type);
  double work = static_cast<double>(batch * m) * static_cast<double>(n * k);
  int64_t every = 1 + static_cast<int64_t>(work / kMostWork);
  double own = (tolerance::reduction_growth(static_cast<double>(k)) + 3) *
               tolerance::unit_roundoff(dtype_attribute(call, "type_a"));
  for (int64_t row = 0; row < batch * m; ++row) {
    if (row % every != 0) {
      out.left_out += n;
      continue;
    }
    int64_t item = row / m, i = row % m;
    int64_t a0 = item * call.integer("stride_a") + (trans_a ? i : i * lda);
    int64_t b0 = item * call.integer("stride_b");
    int64_t c0 = item * call.integer("stride_c") + i * ldc;
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0, most = 0;
      for (int64_t x = 0; x < k; ++x) {
        double t = a[a0 + (trans_a ? x * lda : x)] * b[b0 + (trans_b ? j * ldb + x : x * ldb + j)];
        sum += t;
        most += std::fabs(t);
      }
      double old = beta != 0 ? beta * c[c0 + j] : 0;
      double e = own * (std::fabs(alpha) * most + std::fabs(old));
      out.data.value.push_back(alpha * sum + old);
      out.data.error.push_back(e >= 0 ? e + tolerance::kSmallestNormal : tolerance::kInf);
      out.at.push_back(c0 + j);
    }
  }
  std::vector<ExpectedWrite> writes = finish_gemm(call, reader, std::move(out), own);
  GemmEpilogue e = epilogue_of(call);
  if (e.bgrada || e.bgradb) writes.push_back(operand_sums(call, reader));
  return writes;
}

// attention: 3 operands before o, lse; attention_grad: do first, 6 before dq, dk, dv.
std::vector<ExpectedWrite> attention(const LibraryCall& call, const StepReader& reader) {
  bool grad = call.name == "attention_grad";
  int64_t b = call.integer("b"), t = call.integer("t"), s = call.integer("s");
  int64_t h = call.integer("h"), kv = call.integer("kv"), d = call.integer("d");
  int64_t docs = call.integer("docs"), group = h / kv;
  DType type = dtype_attribute(call, "type");
  double work = static_cast<double>(b * h * t) * static_cast<double>(s * d) * (grad ? 5 : 2);
  bool part = work > kMostWork;  // then the last item and key head only
  if (part && call.attrs.contains("hook")) return {};  // which sees its item and head
  int64_t items = part ? 1 : b, heads = part ? group : h, keys = part ? 1 : kv;

  struct Operand {
    Shape shape, full;
    DType type;
  };
  Operand q{{items, t, heads, d}, {b, t, h, d}, type}, k{{items, s, keys, d}, {b, s, kv, d}, type};
  Operand lse{{items, heads, t}, {b, h, t}, DType::f32};
  // Row-major positions of the part that is computed.
  auto positions = [&](const Operand& o) {
    std::vector<int64_t> at;
    if (!part) return at;
    bool is_lse = o.shape.size() == 3;
    int64_t all_heads = is_lse ? o.full[1] : o.full[2], mine = is_lse ? o.shape[1] : o.shape[2];
    int64_t tokens = is_lse ? o.full[2] : o.full[1], first = all_heads - mine, base = b - 1;
    if (is_lse)
      for (int64_t i = 0; i < mine; ++i)
        for (int64_t x = 0; x < tokens; ++x)
          at.push_back((base * all_heads + first + i) * tokens + x);
    else
      for (int64_t x = 0; x < tokens; ++x)
        for (int64_t i = 0; i < mine; ++i)
          for (int64_t c = 0; c < d; ++c)
            at.push_back(((base * tokens + x) * all_heads + first + i) * d + c);
    return at;
  };
  auto values = [&](size_t argument, const Operand& o) {
    std::vector<double> all = reader.read(call.args[argument], o.type, numel(o.full)), some;
    if (!part) return all;
    for (int64_t i : positions(o)) some.push_back(all[i]);
    return some;
  };
  std::vector<Operand> in =
      grad ? std::vector<Operand>{q, q, k, k, q, lse} : std::vector<Operand>{q, k, k};
  std::vector<Operand> result = grad ? std::vector<Operand>{q, k, k} : std::vector<Operand>{q, lse};
  OneNode node;
  for (size_t i = 0; i < in.size(); ++i) node.input(in[i].shape, in[i].type, values(i, in[i]));
  AttentionArguments at = attention_arguments(call);
  AttentionAttr attr{call.integer("causal") != 0,
                     call.number("scale"),
                     call.number("softcap"),
                     call.integer_or("top_left", 0) != 0,
                     call.integer_or("window", 0),
                     at.prefix != 0,
                     at.sinks != 0,
                     call.attrs.contains("hook") ? call.text("hook") : "",
                     call.integer_or("captured_grads", 0)};
  // The last `count` of `all` elements: those of the part.
  auto option = [&](size_t argument, DType t, int64_t all, int64_t count) {
    std::vector<double> x = reader.read(call.args[argument], t, all);
    node.input({count}, t, std::vector<double>(x.end() - count, x.end()));
  };
  if (at.cu_seqlens) option(at.cu_seqlens, DType::i32, docs + 1, docs + 1);
  if (at.prefix) option(at.prefix, DType::i32, docs > 0 ? docs : b, docs > 0 ? docs : items);
  if (at.sinks) option(at.sinks, DType::f32, h, heads);
  std::vector<TensorType> captured = captured_types(call);
  for (size_t i = 0; i < captured.size(); ++i)
    node.input(captured[i].shape, captured[i].dtype,
               reader.read(call.args[at.captured + i], captured[i].dtype,
                           numel(captured[i].shape)));
  // Sums over all items and heads; of a part they are not defined.
  if (grad && at.sinks && !part) result.push_back({{h}, {h}, DType::f32});
  for (size_t i = 0; i < captured.size(); ++i)
    if (attr.captured_grads >> i & 1)
      result.push_back({captured[i].shape, captured[i].shape, DType::f32});
  std::vector<BoundedData> data =
      node.evaluate(grad ? OpKind::attention_grad : OpKind::attention, attr, result.size());
  std::vector<ExpectedWrite> out;
  for (size_t r = 0; r < result.size(); ++r)
    out.push_back({in.size() + r, result[r].type, std::move(data[r]), positions(result[r]),
                   numel(result[r].full) - numel(result[r].shape)});
  return out;
}

// Of a large one, the last key head and the query heads that share it.
ExpectedWrite paged_attention(const LibraryCall& call, const StepReader& reader) {
  int64_t tokens = call.integer("tokens"), b = call.integer("b"), h = call.integer("h");
  int64_t kv = call.integer("kv"), d = call.integer("d"), pages = call.integer("pages");
  int64_t page_size = call.integer("page_size"), max_pages = call.integer("max_pages");
  int64_t slots = pages * page_size;
  DType type = dtype_attribute(call, "type"), page_type = dtype_attribute(call, "page_type");
  double keys = static_cast<double>(max_pages * page_size);
  double work =
      2 * static_cast<double>(tokens * h * d) * keys + static_cast<double>(slots * kv * d);
  bool part = work > kMostWork && kv > 1;
  int64_t heads = part ? h / kv : h, shared = part ? 1 : kv;
  PagedArguments at = paged_arguments(call);
  OneNode node;
  // The last `mine` of `all` heads of `width` elements of each row.
  auto places = [&](int64_t rows, int64_t all, int64_t mine, int64_t width) {
    std::vector<int64_t> out;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = (all - mine) * width; i < all * width; ++i)
        out.push_back(r * all * width + i);
    return out;
  };
  auto heads_of = [&](size_t argument, DType t, Shape shape, int64_t rows, int64_t all,
                      int64_t mine, int64_t width) {
    std::vector<double> x = reader.read(call.args[argument], t, rows * all * width), some;
    for (int64_t i : places(rows, all, mine, width)) some.push_back(x[i]);
    node.input(std::move(shape), t, std::move(some));
  };
  auto numbers = [&](size_t argument, Shape shape) {
    std::vector<double> x = reader.read(call.args[argument], DType::i32, numel(shape));
    node.input(std::move(shape), DType::i32, std::move(x));
  };
  heads_of(0, type, {tokens, heads, d}, tokens, h, heads, d);
  for (size_t i : {1, 2})
    heads_of(i, page_type, {pages, page_size, shared, d}, slots, kv, shared, d);
  numbers(3, {b, max_pages});
  numbers(4, {b});
  if (at.cu_q) numbers(at.cu_q, {b + 1});
  for (size_t i : {at.k_scale, at.v_scale})
    if (i) heads_of(i, DType::f32, {pages, page_size, shared}, slots, kv, shared, 1);
  PagedAttentionAttr attr{call.number("scale"), call.number("softcap"), call.integer("window"),
                          at.cu_q != 0, at.k_scale != 0};
  std::vector<int64_t> where;
  if (part) where = places(tokens, h, heads, d);
  return {5, type, std::move(node.evaluate(OpKind::paged_attention, attr, 1)[0]), std::move(where),
          tokens * (h - heads) * d};
}

ExpectedWrite rows(const LibraryCall& call, const StepReader& reader) {
  bool gather = call.name == "gather";
  Shape table = {call.integer("rows"), call.integer("width")}, index = {call.integer("count")};
  Shape picked = {index[0], table[1]};
  DType type = dtype_attribute(call, "type"), index_type = dtype_attribute(call, "index_type");
  OneNode node;
  node.input(table, type, reader.read(call.args[0], type, numel(table)));
  node.input(index, index_type, reader.read(call.args[1], index_type, index[0]));
  if (gather) return {2, type, std::move(node.evaluate(OpKind::gather, {}, 1)[0]), {}, 0};
  node.input(picked, type, reader.read(call.args[2], type, numel(picked)));
  ScatterAttr attr{call.text("mode") == "add" ? ScatterMode::add : ScatterMode::set};
  return {0, type, std::move(node.evaluate(OpKind::scatter, attr, 1)[0]), {}, 0};
}

ExpectedWrite cumsum(const LibraryCall& call, const StepReader& reader) {
  Shape shape = {call.integer("outer"), call.integer("n"), call.integer("inner")};
  DType type = dtype_attribute(call, "type");
  OneNode node;
  node.input(shape, type, reader.read(call.args[0], type, numel(shape)));
  CumsumAttr attr{1, call.integer("reverse") != 0};
  return {1, type, std::move(node.evaluate(OpKind::cumsum, attr, 1)[0]), {}, 0};
}

std::vector<ExpectedWrite> top_k(const LibraryCall& call, const StepReader& reader) {
  Shape shape = {call.integer("rows"), call.integer("n")};
  DType type = dtype_attribute(call, "type");
  OneNode node;
  node.input(shape, type, reader.read(call.args[0], type, numel(shape)));
  std::vector<BoundedData> data = node.evaluate(OpKind::top_k, TopKAttr{call.integer("k")}, 2);
  return {{1, type, std::move(data[0]), {}, 0}, {2, DType::i32, std::move(data[1]), {}, 0}};
}

}  // namespace

std::vector<ExpectedWrite> define_call(const LibraryCall& call, const StepReader& reader) {
  if (call.name == "gemm") return gemm(call, reader);
  if (call.name == "attention" || call.name == "attention_grad") return attention(call, reader);
  if (call.name == "paged_attention") return {paged_attention(call, reader)};
  if (call.name == "gather" || call.name == "scatter") return {rows(call, reader)};
  if (call.name == "cumsum") return {cumsum(call, reader)};
  if (call.name == "top_k") return top_k(call, reader);
  if (call.name == "copy")
    return {{1,
             DType::u8,
             exactly(reader.read(call.args[0], DType::u8, call.integer("bytes"))),
             {},
             0}};
  if (call.name == "fill")
    return {{0, DType::u8, exactly(std::vector<double>(call.integer("bytes"), 0.0)), {}, 0}};
  return {};  // guard: writes nothing
}

}  // namespace fusec::driver
