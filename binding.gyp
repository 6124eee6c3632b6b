{
  "targets": [{
    "target_name": "ssm",
    "sources": ["<!@(cat native/sources.txt)"],
    "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")", "native", "native/cpu", "metal"],
    # ..._ALL turns any std::exception into a JavaScript Error; without it one aborts the process.
    # SWALLOW...: calls into an environment that is ending fail, and the error cannot be thrown there;
    # without it that aborts the process, so that worker.terminate() would.
    "defines": [
      "NAPI_VERSION=9",
      "NAPI_CPP_EXCEPTIONS",
      "NODE_ADDON_API_CPP_EXCEPTIONS_ALL",
      "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"
    ],
    "cflags_cc!": ["-fno-exceptions", "-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": ["-std=c++20", "-fvisibility=hidden", "-Wall", "-Wextra"],
    "xcode_settings": {
      "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
      "CLANG_CXX_LIBRARY": "libc++",
      "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
      "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
      "GCC_OPTIMIZATION_LEVEL": "3",
      "MACOSX_DEPLOYMENT_TARGET": "14.0"
    }
  }]
}
