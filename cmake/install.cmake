# What `cmake --install` puts where, and the package that find_package(fusec) finds: fusec::fusec, whose
# users need neither LLVM nor any other library of ours, and fusec::runtime, which runs saved plans and
# holds no compiler.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS fusec fusec_runtime EXPORT fusec_targets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set_target_properties(fusec_tool PROPERTIES INSTALL_RPATH "\$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
install(TARGETS fusec_tool DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(root runtime/base runtime/plan runtime/core runtime/load ops compiler)
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/${root}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
          FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
endforeach()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/fusec)
install(EXPORT fusec_targets NAMESPACE fusec:: FILE fusec_targets.cmake DESTINATION ${package_dir})
file(WRITE ${CMAKE_BINARY_DIR}/fusec-config.cmake
     "include(\"\${CMAKE_CURRENT_LIST_DIR}/fusec_targets.cmake\")\n")
write_basic_package_version_file(${CMAKE_BINARY_DIR}/fusec-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/fusec-config.cmake ${CMAKE_BINARY_DIR}/fusec-config-version.cmake
        DESTINATION ${package_dir})
