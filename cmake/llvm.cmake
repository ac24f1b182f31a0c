# LLVM and MLIR from their static archives. CMake's exported MLIR targets are not used: they link
# the shared libLLVM. z3 and xml2 are left out: no archive that we pull in needs them.
find_program(MLIR_TBLGEN mlir-tblgen PATHS ${LLVM_PREFIX}/bin NO_DEFAULT_PATH REQUIRED)

# td_gen(Ops.td Ops.h.inc -gen-op-decls): one generated file under ./gen of the build folder.
function(td_gen td out)
  set(o ${CMAKE_CURRENT_BINARY_DIR}/gen/${out})
  add_custom_command(OUTPUT ${o}
    COMMAND ${MLIR_TBLGEN} ${ARGN} -I ${LLVM_PREFIX}/include -I ${CMAKE_CURRENT_SOURCE_DIR}
            --write-if-changed -d ${o}.d -o ${o} ${CMAKE_CURRENT_SOURCE_DIR}/${td}
    DEPENDS ${td} DEPFILE ${o}.d VERBATIM)
endfunction()

add_library(llvm_headers INTERFACE)
target_include_directories(llvm_headers SYSTEM INTERFACE ${LLVM_PREFIX}/include)
target_compile_definitions(llvm_headers INTERFACE _GNU_SOURCE __STDC_CONSTANT_MACROS
                           __STDC_FORMAT_MACROS __STDC_LIMIT_MACROS)

file(GLOB mlir_archives ${LLVM_PREFIX}/lib/libMLIR*.a)
list(FILTER mlir_archives EXCLUDE REGEX
     "Test|CAPI|Lsp|Reduce|TableGen|Tblgen|PDLL|Query|JitRunner")
execute_process(
  COMMAND ${LLVM_PREFIX}/bin/llvm-config --link-static --libfiles core object native support
          passes targetparser irreader
  OUTPUT_VARIABLE llvm_archives OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(llvm_archives)
add_library(llvm_static INTERFACE)
target_link_libraries(llvm_static INTERFACE llvm_headers
  -Wl,--start-group ${mlir_archives} ${llvm_archives} -Wl,--end-group
  -Wl,-Bstatic -lz -lzstd -Wl,-Bdynamic Threads::Threads ${CMAKE_DL_LIBS} m)
target_link_options(llvm_static INTERFACE -Wl,--gc-sections)
