# SPDX-License-Identifier: Apache-2.0
# Debian packages, one for each component of the installation: vesper-server, vesper-icd and
# vesper-tools. scripts/package builds them; packaging/install.md tells what is in them.
#
# Programs depend on what dpkg-shlibdeps finds in them. What they load while they run, it cannot
# see: the Vulkan loader is named here.
set(VESPER_PACKAGE_CONTACT "Vesper developers <vesper@example.org>" CACHE STRING
  "Who answers for the Debian packages, as in Name <address>")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VENDOR "Vesper")
set(CPACK_PACKAGE_CONTACT "${VESPER_PACKAGE_CONTACT}")
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # each package has its own
set(CPACK_PACKAGE_DIRECTORY "${PROJECT_BINARY_DIR}/packages")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL server icd tools)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(CPACK_DEBIAN_SERVER_PACKAGE_NAME vesper-server)
set(CPACK_DEBIAN_SERVER_PACKAGE_SECTION graphics)
set(CPACK_DEBIAN_SERVER_DESCRIPTION
"Vulkan remoting: the server, beside the GPU
vesperd gives programs in containers, virtual machines and on other machines
the Vulkan devices of this one. It is a systemd service for the members of the
group vesper.")
set(CPACK_DEBIAN_SERVER_PACKAGE_DEPENDS
  "libvulkan1, systemd | systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_SERVER_PACKAGE_RECOMMENDS "mesa-vulkan-drivers | vulkan-icd")
set(CPACK_DEBIAN_SERVER_PACKAGE_SUGGESTS "vesper-tools (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_SERVER_PACKAGE_CONTROL_EXTRA
  "${PROJECT_SOURCE_DIR}/packaging/debian/postinst"
  "${PROJECT_SOURCE_DIR}/packaging/debian/prerm"
  "${PROJECT_SOURCE_DIR}/packaging/debian/postrm")

set(CPACK_DEBIAN_ICD_PACKAGE_NAME vesper-icd)
set(CPACK_DEBIAN_ICD_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_ICD_DESCRIPTION
"Vulkan remoting: the driver, where programs run
The Vulkan loader finds this driver by itself, and gives programs the devices
of the server that the variable VESPER_SERVER names.")
set(CPACK_DEBIAN_ICD_PACKAGE_DEPENDS libvulkan1)
set(CPACK_DEBIAN_ICD_PACKAGE_RECOMMENDS "vesper-tools (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_ICD_PACKAGE_SUGGESTS libturbojpeg0)
set(CPACK_DEBIAN_ICD_PACKAGE_PROVIDES vulkan-icd)

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME vesper-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION graphics)
set(CPACK_DEBIAN_TOOLS_DESCRIPTION
"Vulkan remoting: the command vesper
vesper run starts a program with its Vulkan devices somewhere else; vesper
doctor says what is missing for that, and what to do about it.")
set(CPACK_DEBIAN_TOOLS_PACKAGE_RECOMMENDS "vesper-icd (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_TOOLS_PACKAGE_SUGGESTS vesper-server)

# What Debian's policy wants in each package: the licence, and what is new.
string(TIMESTAMP VESPER_PACKAGE_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC)
configure_file("${PROJECT_SOURCE_DIR}/packaging/debian/changelog.in"
  "${PROJECT_BINARY_DIR}/packaging/changelog" @ONLY)
find_program(VESPER_GZIP gzip)
mark_as_advanced(VESPER_GZIP)
foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  set(folder "${CMAKE_INSTALL_DATAROOTDIR}/doc/vesper-${component}")
  install(FILES "${PROJECT_SOURCE_DIR}/packaging/debian/copyright"
    DESTINATION "${folder}" COMPONENT ${component})
  if(VESPER_GZIP)
    install(CODE "
      execute_process(COMMAND \"${VESPER_GZIP}\" -9nc \"${PROJECT_BINARY_DIR}/packaging/changelog\"
        OUTPUT_FILE \"${PROJECT_BINARY_DIR}/packaging/changelog.gz\" COMMAND_ERROR_IS_FATAL ANY)"
      COMPONENT ${component})
    install(FILES "${PROJECT_BINARY_DIR}/packaging/changelog.gz"
      DESTINATION "${folder}" COMPONENT ${component})
  endif()
endforeach()

include(CPack)
