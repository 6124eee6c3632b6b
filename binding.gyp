{
  "target_defaults": {
    "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")", "."],
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
    "cflags_cc": ["-std=c++20", "-fvisibility=hidden", "-fPIC", "-Wall", "-Wextra"],
    # Under a condition of the target, because Node's common.gypi comes after this and overwrites plain
    # settings: it would switch exceptions off, and ask for C++17 and macOS 10.15.
    "target_conditions": [["OS=='mac'", {
      "xcode_settings": {
        "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
        "CLANG_CXX_LIBRARY": "libc++",
        "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
        "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
        "GCC_OPTIMIZATION_LEVEL": "3",
        "MACOSX_DEPLOYMENT_TARGET": "14.0",
        "WARNING_CFLAGS": ["-Wall", "-Wextra"]
      }
    }]]
  },
  "targets": [{
    "target_name": "ssm",
    # Every file of these folders: one that is added is compiled.
    "sources": ["<!@(ls native/*.cpp native/addon/*.cpp native/cpu/*.cpp)"],
    # The tables of operations, from the headers of metal/ that state them. Each includes the files of
    # its folder.
    "actions": [{
      "action_name": "operation_tables",
      "inputs": ["scripts/operations.mjs", "<!@(ls metal/*.h native/cpu/operations/*.cpp native/cpu/fast/operations/*.cpp)"],
      "outputs": ["<(SHARED_INTERMEDIATE_DIR)/operations.cpp", "<(SHARED_INTERMEDIATE_DIR)/cpu_operations.cpp", "<(SHARED_INTERMEDIATE_DIR)/fast_operations.cpp"],
      "action": ["node", "scripts/operations.mjs", "<@(_outputs)"],
      "process_outputs_as_sources": 1
    }],
    "conditions": [
      ["target_arch=='x64'", { "dependencies": ["level_avx2", "level_avx512"] }],
      ["target_arch=='arm64'", { "dependencies": ["level_neon"] }],
      # Of the CPU device, for the products of a chunk.
      ["OS=='mac'", {
        "defines": ["SSM_BLAS_HEADER=<Accelerate/Accelerate.h>", "ACCELERATE_NEW_LAPACK"],
        "libraries": ["-framework Accelerate"]
      }],
      # The Metal device: the dispatch code of every operation, Apple's API, and the kernels as text.
      # Not on Intel: those GPUs lack what the kernels need, and so does what Rosetta offers.
      ["OS=='mac' and target_arch=='arm64'", {
        "sources": ["<!@(ls native/metal/*.cpp native/metal/*.mm native/metal/apple/*.mm)"],
        "defines": ["SSM_WITH_METAL"],
        "actions": [{
          "action_name": "metal_operation_table",
          "inputs": ["scripts/operations.mjs", "<!@(ls metal/*.h native/metal/operations/*.cpp)"],
          "outputs": ["<(SHARED_INTERMEDIATE_DIR)/metal_operations.cpp"],
          "action": ["node", "scripts/operations.mjs", "<@(_outputs)"],
          "process_outputs_as_sources": 1
        }, {
          "action_name": "embed_metal",
          "inputs": ["scripts/embed-metal.mjs", "scripts/kernel-file.mjs", "<!@(ls metal/*.metal metal/*.h)"],
          "outputs": ["<(SHARED_INTERMEDIATE_DIR)/kernel_sources.cpp"],
          "action": ["node", "scripts/embed-metal.mjs", "<@(_outputs)"],
          "process_outputs_as_sources": 1
        }],
        "xcode_settings": { "CLANG_ENABLE_OBJC_ARC": "YES" },
        # A program without windows has a default GPU only when it links CoreGraphics.
        "libraries": ["-framework Foundation", "-framework Metal", "-framework CoreGraphics"]
      }]
    ]
  }],
  # The kernels of the CPU device, a library for each level (native/cpu/levels.h). The file of a level
  # has the options that it is compiled with, in its line `options:`.
  "conditions": [
    ["target_arch=='x64'", {
      "targets": [
        {
          "target_name": "level_avx2",
          "type": "static_library",
          "sources": ["native/cpu/levels/avx2.cpp"],
          "variables": { "level_options": ["<!@(sed -n 's|^// options: ||p' native/cpu/levels/avx2.cpp)"] },
          "cflags_cc": ["<@(level_options)"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(level_options)"] }
        },
        {
          "target_name": "level_avx512",
          "type": "static_library",
          "sources": ["native/cpu/levels/avx512.cpp"],
          "variables": { "level_options": ["<!@(sed -n 's|^// options: ||p' native/cpu/levels/avx512.cpp)"] },
          "cflags_cc": ["<@(level_options)"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(level_options)"] }
        }
      ]
    }],
    ["target_arch=='arm64'", {
      "targets": [{
        "target_name": "level_neon",
        "type": "static_library",
        "sources": ["native/cpu/levels/neon.cpp"],
        "variables": { "level_options": ["<!@(sed -n 's|^// options: ||p' native/cpu/levels/neon.cpp)"] },
        "cflags_cc": ["<@(level_options)"],
        "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(level_options)"] }
      }]
    }]
  ]
}
