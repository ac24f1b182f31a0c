# LIBRARY exports names of fusec only, needs no LLVM, MLIR or fmt at run time, and is at most MOST_MB
# large, which tells the runtime from anything that holds a compiler.
execute_process(COMMAND ${NM} -D --defined-only ${LIBRARY} OUTPUT_VARIABLE symbols
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+" symbols "${symbols}")
list(LENGTH symbols count)
# Mangled functions (_ZN, _ZNK) and type information (_ZTI, _ZTS, _ZTV) of namespace fusec.
list(FILTER symbols EXCLUDE REGEX "[0-9a-f]+ [A-Za-z] _Z(N|NK|TIN|TSN|TVN)5fusec")
if(symbols OR count LESS 50)
  list(JOIN symbols "\n" symbols)
  message(FATAL_ERROR "of ${count} exported symbols these are not fusec's "
                      "(compiler/driver/libfusec.map lets them through):\n${symbols}")
endif()

execute_process(COMMAND ${READELF} -d ${LIBRARY} OUTPUT_VARIABLE dynamic COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "NEEDED[^\n]*\\[[^]]*" needed "${dynamic}")
string(REGEX REPLACE "NEEDED[^\n;]*\\[" "" needed "${needed}")
set(foreign ${needed})
list(FILTER foreign EXCLUDE REGEX "^(libm|libstdc\\+\\+|libgcc_s|libc|libdl|libpthread|ld-linux.*)\\.so")
if(foreign OR NOT needed)
  message(FATAL_ERROR "${LIBRARY} needs \"${needed}\"; expected the C and C++ run-time libraries only")
endif()

file(REAL_PATH ${LIBRARY} file)
file(SIZE ${file} bytes)
math(EXPR most "${MOST_MB} << 20")
if(bytes GREATER most)
  message(FATAL_ERROR "${file} has ${bytes} bytes; expected at most ${MOST_MB} MB")
endif()
