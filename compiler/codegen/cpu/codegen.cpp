// The public functions: kernels in, texts or functions out. Splits kernels among threads, each with
// its own MLIR and LLVM contexts and one module.
#include "fusec/codegen_cpu/codegen.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <numeric>
#include <set>
#include <thread>

#include "emit.h"
#include "fusec/base/error.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
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

// One module under construction. The order of members is the order of their lives.
struct Unit {
  std::unique_ptr<mlir::MLIRContext> mlir = make_context();
  llvm::LLVMContext llvm;
  mlir::OwningOpRef<mlir::ModuleOp> module =
      mlir::ModuleOp::create(mlir::UnknownLoc::get(mlir.get()));

  void add(const KernelProgram& kernel, const CpuTarget& target, const std::string& symbol) {
    try {
      Emitter(*module, kernel, target, symbol).emit();
    } catch (Error& e) {
      e.add_note("while generating CPU code for kernel " + kernel.name);
      throw;
    }
  }
  std::unique_ptr<llvm::Module> lowered(const CpuTarget& target) {
    auto m = lower(*module, llvm);
    set_target(*m, target);
    return m;
  }
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

// Symbols of the kernels, made distinct by an index where two are equal.
std::vector<std::string> distinct_symbols(const std::vector<const KernelProgram*>& kernels) {
  std::set<std::string> taken;
  std::vector<std::string> symbols;
  for (size_t i = 0; i < kernels.size(); ++i) {
    std::string s = symbol_of(kernels[i]->name);
    if (!taken.insert(s).second) taken.insert(s += "." + std::to_string(i));
    symbols.push_back(s);
  }
  return symbols;
}

}  // namespace

CompiledKernels compile_kernels(const std::vector<const KernelProgram*>& kernels, int threads,
                                const CpuTarget& target) {
  const auto start = Clock::now();
  const size_t n = std::min<size_t>(std::max(threads, 1), kernels.size());
  const std::vector<std::string> symbols = distinct_symbols(kernels);

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

  std::vector<std::unique_ptr<llvm::MemoryBuffer>> objects(n);
  std::vector<double> source_seconds(n, 0);
  on_threads(n, [&](size_t t) {
    Unit unit;
    for (size_t k : shares[t]) unit.add(*kernels[k], target, symbols[k]);
    std::unique_ptr<llvm::Module> module = unit.lowered(target);
    source_seconds[t] = seconds_since(start);
    objects[t] = generate_object(*module, target);
  });
  CompiledKernels result = link_objects(std::move(objects), symbols);
  if (n > 0) {
    result.source_seconds = *std::max_element(source_seconds.begin(), source_seconds.end());
  }
  result.binary_seconds = seconds_since(start) - result.source_seconds;
  return result;
}

std::string emit_vector_ir(const KernelProgram& kernel, const CpuTarget& target) {
  Unit unit;
  unit.add(kernel, target, symbol_of(kernel.name));
  verify_module(*unit.module);
  std::string text = heading(kernel, "//");
  llvm::raw_string_ostream stream(text);
  unit.module->print(stream, mlir::OpPrintingFlags().printNameLocAsPrefix());
  return text + "\n";
}

std::string emit_llvm_ir(const KernelProgram& kernel, const CpuTarget& target) {
  Unit unit;
  unit.add(kernel, target, symbol_of(kernel.name));
  verify_module(*unit.module);
  return heading(kernel, ";") + print_module(*unit.lowered(target));
}

CompiledKernels compile_llvm_ir(const std::vector<std::string>& texts,
                                const std::vector<std::string>& names, const CpuTarget& target) {
  if (texts.size() != names.size()) {
    fail_internal("compile_llvm_ir: " + std::to_string(texts.size()) + " texts for " +
                  std::to_string(names.size()) + " names");
  }
  const auto start = Clock::now();
  std::vector<std::unique_ptr<llvm::MemoryBuffer>> objects;
  std::vector<std::string> symbols;
  for (size_t i = 0; i < texts.size(); ++i) {
    llvm::LLVMContext context;
    symbols.push_back(symbol_of(names[i]));
    auto module = parse_module(texts[i], symbols.back(), context);
    set_target(*module, target);
    objects.push_back(generate_object(*module, target));
  }
  CompiledKernels result = link_objects(std::move(objects), symbols);
  result.binary_seconds = seconds_since(start);
  return result;
}

std::vector<char> object_code(const KernelProgram& kernel, const CpuTarget& target) {
  Unit unit;
  unit.add(kernel, target, symbol_of(kernel.name));
  verify_module(*unit.module);
  std::unique_ptr<llvm::Module> module = unit.lowered(target);
  std::unique_ptr<llvm::MemoryBuffer> object = generate_object(*module, target);
  return std::vector<char>(object->getBufferStart(), object->getBufferEnd());
}

CompiledKernels link_object_code(const std::vector<std::vector<char>>& objects,
                                 const std::vector<std::string>& names) {
  std::vector<std::unique_ptr<llvm::MemoryBuffer>> buffers;
  std::vector<std::string> symbols;
  for (size_t i = 0; i < objects.size(); ++i) {
    buffers.push_back(llvm::MemoryBuffer::getMemBufferCopy(
        llvm::StringRef(objects[i].data(), objects[i].size()), names[i]));
    symbols.push_back(symbol_of(names[i]));
  }
  return link_objects(std::move(buffers), symbols);
}

}  // namespace fusec::codegen_cpu
