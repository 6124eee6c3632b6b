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
    },
    "conditions": [["OS=='mac'", {
      # The Metal device: the dispatch code of every operation, one file of Apple's API, and the
      # kernels as text.
      "sources": ["<!@(ls native/metal/*.cpp native/metal/*.mm)"],
      "include_dirs": ["native/metal"],
      "defines": ["SSM_WITH_METAL"],
      "actions": [{
        "action_name": "embed_metal",
        "inputs": ["scripts/embed-metal.mjs", "<!@(ls metal/*.metal metal/*.h)"],
        "outputs": ["<(SHARED_INTERMEDIATE_DIR)/kernel_sources.cpp"],
        "action": ["node", "scripts/embed-metal.mjs", "<@(_outputs)"],
        "process_outputs_as_sources": 1
      }],
      "xcode_settings": {"CLANG_ENABLE_OBJC_ARC": "YES", "WARNING_CFLAGS": ["-Wall", "-Wextra"]},
      # A program without windows has a default GPU only when it links CoreGraphics.
      "libraries": ["-framework Foundation", "-framework Metal", "-framework CoreGraphics"]
    }]]
  }]
}
