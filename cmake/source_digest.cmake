# Writes OUT, a header with the digest of the files listed (one a line) in LIST: the version of all
# that a compiled kernel depends on in this tree. Written only when it changes.
file(STRINGS ${LIST} files)
set(all "")
foreach(file ${files})
  file(SHA256 ${file} one)
  string(APPEND all "${one}\n")
endforeach()
string(SHA256 digest "${all}")
file(CONFIGURE OUTPUT ${OUT} CONTENT "// Made by cmake/source_digest.cmake.
#pragma once
inline constexpr const char* kSourceDigest = \"${digest}\";
")
