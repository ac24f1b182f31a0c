// Vector-level MLIR -> LLVM dialect -> llvm::Module, for a whole module at once:
//   1. math -> polynomials   before anything else: the patterns match math ops
//   2. scf -> cf             loops become blocks
//   3. arith, math, vector, cf -> llvm   one conversion, no pass manager
// No canonicalisation runs: the emitter folds and hoists what it writes.
#include "lower.h"

#include "fusec/base/error.h"
#include "llvm/IR/Module.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/DialectConversion.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace fusec::codegen_cpu {
namespace {

// Collects MLIR's messages while it lives.
class Messages {
 public:
  explicit Messages(mlir::MLIRContext* context)
      : handler_(context, [this](mlir::Diagnostic& d) {
          text_ += (text_.empty() ? "" : "; ") + d.str();
          return mlir::success();
        }) {}
  [[noreturn]] void fail(const char* step) const {
    fail_internal(std::string("CPU code generation failed in step '") + step + "': " +
                  (text_.empty() ? "no message" : text_) +
                  "; this is a defect of Fusec, please report the kernel's text");
  }

 private:
  std::string text_;
  mlir::ScopedDiagnosticHandler handler_;
};

}  // namespace

std::unique_ptr<mlir::MLIRContext> make_context() {
  mlir::DialectRegistry registry;
  registry.insert<mlir::arith::ArithDialect, mlir::cf::ControlFlowDialect, mlir::LLVM::LLVMDialect,
                  mlir::math::MathDialect, mlir::scf::SCFDialect, mlir::vector::VectorDialect>();
  mlir::registerBuiltinDialectTranslation(registry);
  mlir::registerLLVMDialectTranslation(registry);
  auto context =
      std::make_unique<mlir::MLIRContext>(registry, mlir::MLIRContext::Threading::DISABLED);
  context->loadAllAvailableDialects();
  return context;
}

void verify_module(mlir::ModuleOp module) {
  Messages messages(module.getContext());
  if (mlir::failed(mlir::verify(module))) messages.fail("verify");
}

std::unique_ptr<llvm::Module> lower(mlir::ModuleOp module, llvm::LLVMContext& context) {
  mlir::MLIRContext* mlir_context = module.getContext();
  Messages messages(mlir_context);
  {
    mlir::RewritePatternSet patterns(mlir_context);
    add_math_patterns(patterns);
    mlir::populateMathPolynomialApproximationPatterns(patterns, [](llvm::StringRef name) {
      return name == mlir::math::TanhOp::getOperationName() ||
             name == mlir::math::ErfOp::getOperationName() ||
             name == mlir::math::LogOp::getOperationName() ||
             name == mlir::math::Log1pOp::getOperationName();
    });
    mlir::walkAndApplyPatterns(module, std::move(patterns));
  }
  {
    mlir::RewritePatternSet patterns(mlir_context);
    mlir::populateSCFToControlFlowConversionPatterns(patterns);
    mlir::ConversionTarget target(*mlir_context);
    target.addIllegalDialect<mlir::scf::SCFDialect>();
    target.markUnknownOpDynamicallyLegal([](mlir::Operation*) { return true; });
    if (mlir::failed(mlir::applyPartialConversion(module, target, std::move(patterns)))) {
      messages.fail("scf to cf");
    }
  }
  {
    mlir::RewritePatternSet patterns(mlir_context);
    mlir::LLVMTypeConverter types(mlir_context);
    mlir::arith::populateArithToLLVMConversionPatterns(types, patterns);
    mlir::populateMathToLLVMConversionPatterns(types, patterns);
    mlir::populateVectorToLLVMConversionPatterns(types, patterns);
    mlir::cf::populateControlFlowToLLVMConversionPatterns(types, patterns);
    mlir::LLVMConversionTarget target(*mlir_context);
    target.addLegalOp<mlir::ModuleOp>();
    if (mlir::failed(mlir::applyFullConversion(module, target, std::move(patterns)))) {
      messages.fail("to the LLVM dialect");
    }
  }
  auto lowered = mlir::translateModuleToLLVMIR(module, context, "fusec", true);
  if (!lowered) messages.fail("to LLVM IR");
  return lowered;
}

}  // namespace fusec::codegen_cpu
