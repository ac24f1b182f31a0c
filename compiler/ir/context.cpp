#include "fusec/ir/context.h"

#include <mlir/IR/Diagnostics.h>
#include <mlir/IR/Verifier.h>
#include <mlir/Parser/Parser.h>

#include <cctype>
#include <cstring>

using namespace mlir;

namespace fusec::ir {
namespace {

// Collects diagnostics while it lives.
class Collector {
 public:
  explicit Collector(MLIRContext* context)
      : handler_(context, [this](Diagnostic& d) {
          if (!text_.empty()) text_ += "\n  ";
          if (auto loc = dyn_cast<FileLineColLoc>(d.getLocation()))
            text_ += loc.getFilename().str() + ":" + std::to_string(loc.getLine()) + ":" +
                     std::to_string(loc.getColumn()) + ": ";
          text_ += d.str();
          return success();
        }) {}
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  ScopedDiagnosticHandler handler_;
};

// MLIR's parser reserves memory for as many results as a reference like %3#99 counts.
constexpr unsigned long kMostResults = 100000;

void check_result_numbers(std::string_view text, const std::string& name) {
  for (size_t at = text.find('#'); at != std::string_view::npos; at = text.find('#', at + 1)) {
    size_t start = at;
    while (start > 0 && (std::isalnum(static_cast<unsigned char>(text[start - 1])) ||
                         std::strchr("_$.-", text[start - 1])))
      --start;
    if (start == 0 || text[start - 1] != '%') continue;
    unsigned long number = 0;
    for (size_t i = at + 1; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i)
      if ((number = number * 10 + static_cast<unsigned long>(text[i] - '0')) > kMostResults)
        fail_user("cannot read " + name + " as IR: expected a result number of at most " +
                  std::to_string(kMostResults) + ", found one beyond");
  }
}

}  // namespace

std::unique_ptr<MLIRContext> make_context() {
  auto context = std::make_unique<MLIRContext>(MLIRContext::Threading::DISABLED);
  context->loadDialect<FusecDialect>();
  return context;
}

OwningOpRef<ModuleOp> parse(MLIRContext& context, std::string_view text, const std::string& name) {
  check_result_numbers(text, name);
  Collector diagnostics(&context);
  OwningOpRef<ModuleOp> module;
  try {
    module = parseSourceString<ModuleOp>(llvm::StringRef(text.data(), text.size()),
                                         ParserConfig(&context), name);
  } catch (Error& e) {
    e.add_note("while reading " + name);
    throw;
  }
  if (!module)
    fail_user("cannot read " + name +
              " as IR; expected the text of a stage: " + diagnostics.text());
  graph_of(*module);
  return module;
}

GraphOp graph_of(ModuleOp module) {
  GraphOp found;
  int count = 0;
  for (GraphOp g : module.getOps<GraphOp>()) found = g, ++count;
  if (count != 1)
    fail_user("expected one fusec.graph in the module, found " + std::to_string(count));
  return found;
}

bool has_guard(ModuleOp module) {
  return !graph_of(module).getBody().front().getOps<GuardOp>().empty();
}

std::string print(ModuleOp module, bool locations) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  OpPrintingFlags flags;
  if (locations) flags.enableDebugInfo(true, false);
  module->print(stream, flags);
  stream << "\n";
  return text;
}

void verify(ModuleOp module, std::string_view after) {
  Collector diagnostics(module.getContext());
  if (failed(mlir::verify(module)))
    fail_internal("invalid IR after " + std::string(after) + ": " + diagnostics.text());
}

}  // namespace fusec::ir
