// ELF object -> CodeImage: sections laid one behind the other, every reference between them written
// as a distance, calls out of the object led through slots that the device fills:
//
//     call exp@PLT            ->   call stub          stub:  jmp *slot(%rip)
//     mov exp@GOTPCREL, %rax  ->   mov slot(%rip), %rax
//
// No JIT linker: kernels are position-independent and keep no data, so this little is all there is
// to link, and its result can be stored and mapped without LLVM. Refuses (internal Error) data that
// is written, absolute addresses, and calls of functions that imports.def does not list.
#include <algorithm>
#include <map>

#include "fusec/base/error.h"
#include "llvm/Object/ELFObjectFile.h"
#include "machine.h"

namespace fusec::codegen_cpu {
namespace {

using Elf = llvm::object::ELF64LE;

class Flattener {
 public:
  Flattener(const llvm::object::ELFFile<Elf>& elf, const std::string& symbol)
      : elf_(elf), symbol_(symbol) {}

  CodeImage run() {
    auto sections = get(elf_.sections(), "read the sections");
    for (const auto& section : sections) place(section);
    find_entry(sections);
    for (const auto& section : sections)
      if (section.sh_type == llvm::ELF::SHT_RELA) relocate(section, sections);
    return std::move(image_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    fail_internal("the object code of kernel " + symbol_ + " can not be used: " + what);
  }
  template <class T>
  T get(llvm::Expected<T> value, const char* what) const {
    if (!value)
      refuse(std::string("LLVM can not ") + what + ": " + llvm::toString(value.takeError()));
    return *value;
  }

  uint64_t append(uint64_t bytes, uint64_t alignment) {
    std::string& code = image_.code;
    uint64_t at = (code.size() + alignment - 1) / alignment * alignment;
    code.resize(at + bytes, static_cast<char>(0xcc));
    image_.alignment = std::max(image_.alignment, static_cast<uint32_t>(alignment));
    return at;
  }

  void place(const Elf::Shdr& section) {
    std::string name = get(elf_.getSectionName(section), "name a section").str();
    bool kept = (section.sh_flags & llvm::ELF::SHF_ALLOC) && section.sh_size > 0;
    // No exception passes through a kernel, so nobody asks how to unwind one.
    if (!kept || name.starts_with(".eh_frame")) return placed_.push_back(-1);
    if (section.sh_flags & llvm::ELF::SHF_WRITE) refuse("section " + name + " is data to write");
    if (section.sh_type != llvm::ELF::SHT_PROGBITS) refuse("section " + name + " has no bytes");
    if (section.sh_addralign > kMaxCodeAlignment) refuse("section " + name + " is over-aligned");
    auto bytes = get(elf_.getSectionContents(section), "read a section");
    uint64_t at = append(bytes.size(), std::max<uint64_t>(section.sh_addralign, 1));
    std::copy(bytes.begin(), bytes.end(), image_.code.begin() + static_cast<int64_t>(at));
    placed_.push_back(static_cast<int64_t>(at));
  }

  // Where a symbol of this object lies in the image.
  uint64_t place_of(const Elf::Sym& symbol) const {
    if (symbol.st_shndx >= placed_.size() || placed_[symbol.st_shndx] < 0)
      refuse("a symbol lies in no section of code");
    return static_cast<uint64_t>(placed_[symbol.st_shndx]) + symbol.st_value;
  }

  void find_entry(Elf::ShdrRange sections) {
    for (const auto& section : sections) {
      if (section.sh_type != llvm::ELF::SHT_SYMTAB) continue;
      auto names = get(elf_.getStringTableForSymtab(section), "read the names");
      for (const auto& symbol : get(elf_.symbols(&section), "read the symbols")) {
        if (symbol.st_shndx == llvm::ELF::SHN_UNDEF) continue;
        if (get(symbol.getName(names), "name a symbol") != symbol_) continue;
        image_.entry = static_cast<uint32_t>(place_of(symbol));
        return;
      }
    }
    refuse("it does not define " + symbol_);
  }

  uint64_t slot(const std::string& name) {
    auto [it, fresh] = slots_.try_emplace(name, 0);
    if (!fresh) return it->second;
    const auto& known = code_import_names();
    if (std::find(known.begin(), known.end(), name) == known.end())
      refuse("it calls " + name + ", for which imports.def has no row");
    it->second = append(8, 8);
    std::fill_n(image_.code.begin() + static_cast<int64_t>(it->second), 8, '\0');
    image_.imports.push_back({static_cast<uint32_t>(it->second), name});
    return it->second;
  }

  uint64_t stub(const std::string& name) {
    auto [it, fresh] = stubs_.try_emplace(name, 0);
    if (!fresh) return it->second;
    uint64_t to = slot(name), at = append(6, 8);
    it->second = at;
    image_.code[at] = '\xff';
    image_.code[at + 1] = '\x25';
    write(at + 2, static_cast<int64_t>(to) - static_cast<int64_t>(at + 6), 4);
    return at;
  }

  void write(uint64_t at, int64_t value, unsigned bytes) {
    if (at + bytes > image_.code.size()) refuse("a relocation lies outside its section");
    if (bytes == 4 && value != static_cast<int32_t>(value)) refuse("it is larger than 2 GB");
    for (unsigned i = 0; i < bytes; ++i)
      image_.code[at + i] = static_cast<char>(static_cast<uint64_t>(value) >> (8 * i));
  }

  void relocate(const Elf::Shdr& section, Elf::ShdrRange sections) {
    if (section.sh_info >= placed_.size() || placed_[section.sh_info] < 0) return;
    auto base = static_cast<uint64_t>(placed_[section.sh_info]);
    const auto* table = get(elf_.getSection(section.sh_link), "find the symbols");
    auto names = get(elf_.getStringTableForSymtab(*table), "read the names");
    for (const auto& r : get(elf_.relas(section), "read the relocations")) {
      const auto* symbol = get(elf_.getRelocationSymbol(r, table), "find a symbol");
      if (!symbol) refuse("a relocation without a symbol");
      bool outside = symbol->st_shndx == llvm::ELF::SHN_UNDEF;
      std::string name = get(symbol->getName(names), "name a symbol").str();
      const uint32_t type = r.getType(false);
      uint64_t at = base + r.r_offset, to = 0;
      unsigned bytes = 4;
      switch (type) {
        case llvm::ELF::R_X86_64_PC64: bytes = 8; [[fallthrough]];
        case llvm::ELF::R_X86_64_PC32:
        case llvm::ELF::R_X86_64_PLT32: to = outside ? stub(name) : place_of(*symbol); break;
        case llvm::ELF::R_X86_64_GOTPCREL:
        case llvm::ELF::R_X86_64_GOTPCRELX:
        case llvm::ELF::R_X86_64_REX_GOTPCRELX:
          if (!outside) refuse("it takes the address of " + name);
          to = slot(name);
          break;
        default: refuse("relocation type " + std::to_string(type) + " against " + name);
      }
      write(at, static_cast<int64_t>(to) + r.r_addend - static_cast<int64_t>(at), bytes);
    }
  }

  const llvm::object::ELFFile<Elf>& elf_;
  const std::string& symbol_;
  CodeImage image_;
  std::vector<int64_t> placed_;  // by section: its place in the image, or -1
  std::map<std::string, uint64_t> slots_, stubs_;
};

}  // namespace

CodeImage flatten(llvm::StringRef object, const std::string& symbol) {
  auto made = llvm::object::ObjectFile::createELFObjectFile(llvm::MemoryBufferRef(object, symbol));
  const auto* elf = made ? llvm::dyn_cast<llvm::object::ELFObjectFile<Elf>>(made->get()) : nullptr;
  if (!made) llvm::consumeError(made.takeError());
  if (!elf || elf->getELFFile().getHeader().e_machine != llvm::ELF::EM_X86_64 ||
      elf->getELFFile().getHeader().e_type != llvm::ELF::ET_REL)
    fail_internal("kernel " + symbol + ": expected a relocatable ELF object for x86-64, found " +
                  std::to_string(object.size()) + " bytes of something else");
  return Flattener(elf->getELFFile(), symbol).run();
}

}  // namespace fusec::codegen_cpu
