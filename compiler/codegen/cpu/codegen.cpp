// The public functions: kernels in, texts or code out. Splits kernels among threads, each with its
// own MLIR and LLVM contexts, and makes one module of each kernel, so that its code does not depend
// on its neighbours. Contexts and the machine description are kept for the next call: making them
// costs more than a small kernel.
#include "fusec/codegen_cpu/codegen.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>

#include "emit.h"
#include "fusec/base/error.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "lower.h"
#include "machine.h"

namespace fusec::codegen_cpu {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string one_line(std::string s) {
  std::replace(s.begin(), s.end(), '\n', ' ');
  return s;
}

// "// kernel k07" and a line for each origin.
std::string heading(const KernelProgram& kernel, const std::string& mark) {
  std::string text = mark + " kernel " + one_line(kernel.name) + ", schedule " +
                     std::string(name_of(kernel.schedule.kind)) + "\n";
  for (const std::string& origin : kernel.origins) {
    text += mark + "   from " + one_line(origin) + "\n";
  }
  for (size_t i = 0; i < kernel.params.size(); ++i) {
    const KernelParam& p = kernel.params[i];
    text += mark + "   args[" + std::to_string(i) + "]: " + one_line(p.name) + " " +
            std::string(name_of(p.dtype)) + (p.read ? " read" : "") +
            (p.written ? " written" : "") + "\n";
  }
  return text;
}

// What one thread works with. The order of members is the order of their lives.
struct Workshop {
  explicit Workshop(const CpuTarget& t)
      : target(t), machine(make_machine(t)), objects(*machine) {}
  const CpuTarget target;
  std::unique_ptr<mlir::MLIRContext> mlir = make_context();
  llvm::LLVMContext llvm;
  std::unique_ptr<llvm::TargetMachine> machine;
  ObjectWriter objects;
  int kernels = 0;  // made so far: contexts only grow, so a shop is not kept for ever

  mlir::OwningOpRef<mlir::ModuleOp> emit(const KernelProgram& kernel) {
    mlir::OwningOpRef<mlir::ModuleOp> module =
        mlir::ModuleOp::create(mlir::UnknownLoc::get(mlir.get()));
    ++kernels;
    try {
      Emitter(*module, kernel, target, symbol_of(kernel.name)).emit();
    } catch (Error& e) {
      e.add_note("while generating CPU code for kernel " + kernel.name);
      throw;
    }
    return module;
  }
  std::unique_ptr<llvm::Module> lowered(mlir::ModuleOp module) {
    auto m = lower(module, llvm);
    set_target(*m, *machine, target);
    return m;
  }
};

// A shop of this thread's own until the loan ends; after an exception it is not used again.
class Loan {
 public:
  explicit Loan(const CpuTarget& target) : exceptions_(std::uncaught_exceptions()) {
    shop_ = take_idle(target);
    if (!shop_) shop_ = std::make_unique<Workshop>(target);
  }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  ~Loan() {
    if (std::uncaught_exceptions() > exceptions_ || shop_->kernels > kMostKernels) return;
    Shelf& s = shelf();
    std::lock_guard lock(s.mutex);
    if (s.idle.size() < kMostIdle) s.idle.push_back(std::move(shop_));
  }
  Workshop* operator->() { return shop_.get(); }
  Workshop& operator*() { return *shop_; }

 private:
  static constexpr int kMostKernels = 500;
  static constexpr size_t kMostIdle = 4;
  struct Shelf {
    std::mutex mutex;
    std::vector<std::unique_ptr<Workshop>> idle;
  };
  static Shelf& shelf() {
    static Shelf& kept = *new Shelf;  // never destroyed: LLVM's own statics may go first
    return kept;
  }
  static std::unique_ptr<Workshop> take_idle(const CpuTarget& target) {
    Shelf& s = shelf();
    std::lock_guard lock(s.mutex);
    auto fits = std::find_if(s.idle.begin(), s.idle.end(),
                             [&](const auto& shop) { return shop->target == target; });
    if (fits == s.idle.end()) return nullptr;
    std::unique_ptr<Workshop> shop = std::move(*fits);
    s.idle.erase(fits);
    return shop;
  }

  std::unique_ptr<Workshop> shop_;
  int exceptions_;
};

// Runs work(t) on `threads` threads, the caller being one; rethrows the first exception.
template <typename Work>
void on_threads(size_t threads, const Work& work) {
  std::vector<std::exception_ptr> errors(threads);
  auto guarded = [&](size_t t) {
    try {
      work(t);
    } catch (...) {
      errors[t] = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  for (size_t t = 1; t < threads; ++t) others.emplace_back(guarded, t);
  if (threads > 0) guarded(0);
  for (std::thread& t : others) t.join();
  for (std::exception_ptr& e : errors) {
    if (e) std::rethrow_exception(e);
  }
}

}  // namespace

CompiledKernels compile_kernels(const std::vector<const KernelProgram*>& kernels, int threads,
                                const CpuTarget& target) {
  const auto start = Clock::now();
  const size_t n = std::min<size_t>(std::max(threads, 1), kernels.size());

  // Largest first, each to the thread with the least work: the same split every time.
  std::vector<size_t> order(kernels.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return kernels[a]->ops.size() > kernels[b]->ops.size();
  });
  std::vector<std::vector<size_t>> shares(n);
  std::vector<size_t> load(n, 0);
  for (size_t k : order) {
    size_t t = std::min_element(load.begin(), load.end()) - load.begin();
    shares[t].push_back(k);
    load[t] += kernels[k]->ops.size() + 10;
  }

  CompiledKernels result;
  result.images.resize(kernels.size());
  std::vector<double> source_seconds(n, 0);
  on_threads(n, [&](size_t t) {
    Loan shop(target);
    for (size_t k : shares[t]) {
      const auto begun = Clock::now();
      std::unique_ptr<llvm::Module> module = shop->lowered(*shop->emit(*kernels[k]));
      source_seconds[t] += seconds_since(begun);
      result.images[k] = flatten(shop->objects.write(*module), symbol_of(kernels[k]->name));
    }
  });
  if (n > 0) {
    result.source_seconds = *std::max_element(source_seconds.begin(), source_seconds.end());
  }
  result.binary_seconds = seconds_since(start) - result.source_seconds;
  return result;
}

std::string emit_vector_ir(const KernelProgram& kernel, const CpuTarget& target) {
  Loan shop(target);
  mlir::OwningOpRef<mlir::ModuleOp> module = shop->emit(kernel);
  verify_module(*module);
  std::string text = heading(kernel, "//");
  llvm::raw_string_ostream stream(text);
  module->print(stream, mlir::OpPrintingFlags().printNameLocAsPrefix());
  return text + "\n";
}

std::string emit_llvm_ir(const KernelProgram& kernel, const CpuTarget& target) {
  Loan shop(target);
  mlir::OwningOpRef<mlir::ModuleOp> module = shop->emit(kernel);
  verify_module(*module);
  return heading(kernel, ";") + print_module(*shop->lowered(*module));
}

CompiledKernels compile_llvm_ir(const std::vector<std::string>& texts,
                                const std::vector<std::string>& names, const CpuTarget& target) {
  if (texts.size() != names.size()) {
    fail_internal("compile_llvm_ir: " + std::to_string(texts.size()) + " texts for " +
                  std::to_string(names.size()) + " names");
  }
  const auto start = Clock::now();
  Loan shop(target);
  CompiledKernels result;
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string symbol = symbol_of(names[i]);
    auto module = parse_module(texts[i], symbol, shop->llvm);
    set_target(*module, *shop->machine, target);
    result.images.push_back(flatten(shop->objects.write(*module), symbol));
  }
  result.binary_seconds = seconds_since(start);
  return result;
}

std::vector<char> object_code(const KernelProgram& kernel, const CpuTarget& target) {
  Loan shop(target);
  mlir::OwningOpRef<mlir::ModuleOp> module = shop->emit(kernel);
  verify_module(*module);
  llvm::StringRef object = shop->objects.write(*shop->lowered(*module));
  return std::vector<char>(object.begin(), object.end());
}

CompiledKernels link_object_code(const std::vector<std::vector<char>>& objects,
                                 const std::vector<std::string>& names) {
  CompiledKernels result;
  for (size_t i = 0; i < objects.size(); ++i) {
    llvm::StringRef object(objects[i].data(), objects[i].size());
    result.images.push_back(flatten(object, symbol_of(names[i])));
  }
  return result;
}

}  // namespace fusec::codegen_cpu
