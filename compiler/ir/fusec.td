// The dialect: one structural op for each class of the recorder (ops/graph.h), plus the graph
// itself, kernels and library calls. Pointwise ops are one `map` op keyed by pointwise.def.
// Verifiers call the recorder's shape rules (infer_types), so there is one set of rules.
include "mlir/IR/OpBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Fusec_Dialect : Dialect {
  let name = "fusec";
  let cppNamespace = "::fusec::ir";
  let summary = "Tensor graphs of training steps, from recording to kernels";
}

class Op_<string name, list<Trait> traits = []> : Op<Fusec_Dialect, name, traits>;

def T : Type<And<[CPred<"::llvm::isa<::mlir::RankedTensorType>($_self)">,
                  CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).hasStaticShape()">]>,
             "tensor of static shape",
             "::mlir::RankedTensorType">;

def GraphOp : Op_<"graph", [IsolatedFromAbove, NoTerminator, SingleBlock]> {
  let summary = "A whole step: leaves, ops in execution order, assigns and outputs";
  let arguments = (ins StrAttr:$name);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$name attr-dict-with-keyword custom<Isolated>($body)";
  let hasRegionVerifier = 1;
}
def InputOp : Op_<"input"> {
  let summary = "Fed by the caller before each run";
  let arguments = (ins StrAttr:$name);
  let results = (outs T:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
}
def ParameterOp : Op_<"parameter"> {
  let summary = "Persistent memory: trained, or (state) not";
  let arguments = (ins StrAttr:$name, UnitAttr:$state);
  let results = (outs T:$result);
  let assemblyFormat = "$name (`state` $state^)? attr-dict `:` type($result)";
}
def ConstantOp : Op_<"constant", [Pure]> {
  let summary = "Splat of a number, or data";
  let arguments = (ins ElementsAttr:$value);
  let results = (outs T:$result);
  let assemblyFormat = "$value attr-dict `:` type($result)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{ bool is_splat() { return getValue().isSplat(); } }];
  let builders = [OpBuilder<(ins "::mlir::ElementsAttr":$value), [{
    build($_builder, $_state, value.getType(), value);
  }]>];
}
def IotaOp : Op_<"iota", [Pure]> {
  let summary = "Index along one axis";
  let arguments = (ins I64Attr:$axis);
  let results = (outs T:$result);
  let assemblyFormat = "$axis attr-dict `:` type($result)";
  let hasVerifier = 1;
}
def MapOp : Op_<"map", [Pure]> {
  let summary = "Pointwise op of the table on operands of one shape";
  let arguments = (ins StrAttr:$fn, Variadic<T>:$args);
  let results = (outs T:$result);
  let assemblyFormat = "custom<Keyword>($fn) `(` $args `)` attr-dict `:` functional-type($args, $result)";
  let hasVerifier = 1;
}
def CastOp : Op_<"cast", [Pure]> {
  let summary = "Change of element type; the only place where precision changes";
  let arguments = (ins T:$arg);
  let results = (outs T:$result);
  let assemblyFormat = "$arg attr-dict `:` type($arg) `to` type($result)";
  let hasVerifier = 1;
}
def ReduceOp : Op_<"reduce", [Pure]> {
  let summary = "sum, max or min over axes, or (chunk) of consecutive runs of a vector";
  let arguments = (ins StrAttr:$kind, T:$arg, DenseI64ArrayAttr:$axes,
                       DefaultValuedAttr<I64Attr, "0">:$chunk);
  let results = (outs T:$result);
  let assemblyFormat = "custom<Keyword>($kind) `(` $arg `)` `axes` $axes attr-dict `:` type($arg) `to` type($result)";
  let hasVerifier = 1;
}
def ContractOp : Op_<"contract", [Pure]> {
  let summary = "Einsum of two operands, accumulated in f32";
  let arguments = (ins StrAttr:$labels, T:$lhs, T:$rhs);
  let results = (outs T:$result);
  let assemblyFormat = "$labels `(` $lhs `,` $rhs `)` attr-dict `:` functional-type(operands, $result)";
  let hasVerifier = 1;
}
def ViewOp : Op_<"view", [Pure]> {
  let summary = "reshape, permute, broadcast or slice; no arithmetic";
  let description = [{
    alias: a slice of whole rows that is not folded into the kernels that read it but a tensor of
    its own, in the memory of its operand.
  }];
  let arguments = (ins StrAttr:$kind, T:$arg, DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$dims,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$start,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$step,
                       UnitAttr:$alias);
  let results = (outs T:$result);
  let assemblyFormat = "custom<Keyword>($kind) `(` $arg `)` attr-dict `:` type($arg) `to` type($result)";
  let hasVerifier = 1;
}
def ConcatOp : Op_<"concat", [Pure]> {
  let summary = "Parts one after the other along an axis; placed: numbers of those written in place";
  let arguments = (ins I64Attr:$axis, Variadic<T>:$args,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$placed);
  let results = (outs T:$result);
  let assemblyFormat = "$axis `(` $args `)` attr-dict `:` functional-type($args, $result)";
  let hasVerifier = 1;
}
def GatherOp : Op_<"gather", [Pure]> {
  let summary = "Rows of a table by index; a negative index gives zeros";
  let arguments = (ins T:$table, T:$index);
  let results = (outs T:$result);
  let assemblyFormat = "`(` operands `)` attr-dict `:` functional-type(operands, $result)";
  let hasVerifier = 1;
}
def ScatterOp : Op_<"scatter", [Pure]> {
  let summary = "Base with rows added to or set by index; a negative index is skipped";
  let arguments = (ins StrAttr:$mode, T:$base, T:$index, T:$updates);
  let results = (outs T:$result);
  let assemblyFormat = "custom<Keyword>($mode) `(` operands `)` attr-dict `:` functional-type(operands, $result)";
  let hasVerifier = 1;
}
def CumsumOp : Op_<"cumsum", [Pure]> {
  let summary = "Running sum along an axis; reverse: from its end";
  let arguments = (ins I64Attr:$axis, UnitAttr:$reverse, T:$arg);
  let results = (outs T:$result);
  let assemblyFormat = "$axis (`reverse` $reverse^)? `(` $arg `)` attr-dict `:` type($arg) `to` type($result)";
  let hasVerifier = 1;
}
def TopKOp : Op_<"top_k", [Pure]> {
  let summary = "The k largest of the last axis in descending order, NaN first, and their indices";
  let arguments = (ins I64Attr:$k, T:$arg);
  let results = (outs T:$values, T:$indices);
  let assemblyFormat = "$k `(` $arg `)` attr-dict `:` functional-type($arg, results)";
  let hasVerifier = 1;
}
def AttentionOp : Op_<"attention", [Pure]> {
  let summary = "(q, k, v[, cu_seqlens][, prefix][, sinks][, captured...]) -> (o, lse)";
  let arguments = (ins Variadic<T>:$args, BoolAttr:$causal, F64Attr:$scale, F64Attr:$softcap,
                       UnitAttr:$top_left, OptionalAttr<I64Attr>:$window, UnitAttr:$prefix,
                       UnitAttr:$sinks, OptionalAttr<StrAttr>:$hook);
  let results = (outs T:$o, T:$lse);
  let assemblyFormat = "`(` $args `)` attr-dict `:` functional-type($args, results)";
  let hasVerifier = 1;
}
def AttentionGradOp : Op_<"attention_grad", [Pure]> {
  let summary = "(do, q, k, v, o, lse[, as above]) -> (dq, dk, dv[, dsinks][, dcaptured...])";
  let arguments = (ins Variadic<T>:$args, BoolAttr:$causal, F64Attr:$scale, F64Attr:$softcap,
                       UnitAttr:$top_left, OptionalAttr<I64Attr>:$window, UnitAttr:$prefix,
                       UnitAttr:$sinks, OptionalAttr<StrAttr>:$hook,
                       OptionalAttr<I64Attr>:$captured_grads);
  let results = (outs T:$dq, T:$dk, T:$dv, Variadic<T>:$others);
  let assemblyFormat = "`(` $args `)` attr-dict `:` functional-type($args, results)";
  let hasVerifier = 1;
}
def PagedAttentionOp : Op_<"paged_attention", [Pure]> {
  let summary = "(q, k_pages, v_pages, page_table, lengths[, cu_q][, k_scale, v_scale]) -> o";
  let arguments = (ins Variadic<T>:$args, F64Attr:$scale, F64Attr:$softcap,
                       OptionalAttr<I64Attr>:$window, UnitAttr:$cu_q, UnitAttr:$scales);
  let results = (outs T:$o);
  let assemblyFormat = "`(` $args `)` attr-dict `:` functional-type($args, $o)";
  let hasVerifier = 1;
}
def AssignOp : Op_<"assign"> {
  let summary = "At the end of the step the parameter takes the value";
  let arguments = (ins T:$target, T:$value);
  let assemblyFormat = "$target `,` $value attr-dict `:` type($target) `,` type($value)";
  let hasVerifier = 1;
}
def GuardOp : Op_<"guard"> {
  let summary = "The step's assigns take effect only if the value is finite";
  let arguments = (ins T:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
  let hasVerifier = 1;
}
def OutputOp : Op_<"output"> {
  let summary = "A named result of the graph";
  let arguments = (ins StrAttr:$name, T:$value);
  let assemblyFormat = "$name $value attr-dict `:` type($value)";
}
def KernelOp : Op_<"kernel", [IsolatedFromAbove, SingleBlock]> {
  let summary = "A fused region: one pass over memory; several segments: one launch for all";
  let description = [{
    The body computes on whole tensors; its arguments are what it loads and its yielded values what
    it stores. With segments = n > 1 the operands and results are n groups, one after the other,
    each with the structure of the body but sizes of its own (flat schedules only).

    places holds three numbers a result: length, row, start. Where length > 0, the result is stored
    as columns of a wider matrix: element i goes to (i / length) * row + start + i % length. Only a
    concat with the same part as `placed` reads such a result.
  }];
  let arguments = (ins StrAttr:$name, Variadic<T>:$args,
                       DefaultValuedAttr<I64Attr, "1">:$segments,
                       OptionalAttr<DictionaryAttr>:$schedule,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$places);
  let results = (outs Variadic<T>:$outs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$name `(` $args `)` attr-dict `:` functional-type($args, $outs) custom<Isolated>($body)";
  let hasVerifier = 1;
}
def LibraryOp : Op_<"library", [Pure]> {
  let summary = "A call of plan.h into a device library";
  let arguments = (ins StrAttr:$name, Variadic<T>:$args, DictionaryAttr:$config);
  let results = (outs Variadic<T>:$outs);
  let assemblyFormat = "$name `(` $args `)` $config attr-dict `:` functional-type($args, $outs)";
  let hasVerifier = 1;
}
def YieldOp : Op_<"yield", [Pure, Terminator]> {
  let summary = "What a kernel stores";
  let arguments = (ins Variadic<T>:$args);
  let assemblyFormat = "attr-dict ($args^ `:` type($args))?";
}
