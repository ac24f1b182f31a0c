// Named byte strings in one file: what the program with the compiler hands to the one without.
#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <string>

namespace fusec::test {

using Values = std::map<std::string, std::string>;

inline void write_values(const std::string& path, const Values& values) {
  std::ofstream out(path, std::ios::binary);
  for (const auto& [name, bytes] : values)
    out << name << '\n' << bytes.size() << '\n' << bytes << '\n';
}

inline Values read_values(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  Values values;
  size_t size = 0;
  for (std::string name; std::getline(in, name) && in >> size;) {
    std::string bytes(size, '\0');
    in.get();
    in.read(bytes.data(), static_cast<std::streamsize>(size));
    in.get();
    values[name] = std::move(bytes);
  }
  return values;
}

}  // namespace fusec::test
