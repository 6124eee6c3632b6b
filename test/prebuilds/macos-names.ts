// What the binaries for macOS may take from its libraries. Whatever one takes that the least macOS lacks
// would keep the addon from loading there, and no linker on Linux knows: zig's list of the C library is
// that of a newer macOS.

/**
 * Of libSystem: names that macOS 13 has, by the list of its symbols in zig 0.11.0 (PyPI, ziglang,
 * lib/libc/darwin/libSystem.13.tbd). Look a new name up there before you add it.
 */
export const LIBSYSTEM = new Set(
  `
  __Block_copy __Block_object_assign __Block_object_dispose __Block_release __DefaultRuneLocale
  __NSConcreteGlobalBlock __NSConcreteMallocBlock __NSConcreteStackBlock __Unwind_Backtrace
  __Unwind_DeleteException __Unwind_FindEnclosingFunction __Unwind_ForcedUnwind
  __Unwind_GetDataRelBase __Unwind_GetIP __Unwind_GetLanguageSpecificData
  __Unwind_GetRegionStart __Unwind_GetTextRelBase __Unwind_RaiseException __Unwind_Resume
  __Unwind_Resume_or_Rethrow __Unwind_SetGR __Unwind_SetIP ___bzero ___chkstk_darwin
  ___cxa_atexit ___error ___maskrune ___memcpy_chk ___memmove_chk ___memset_chk ___snprintf_chk
  ___sincosf_stret ___stack_chk_fail ___stack_chk_guard ___stderrp ___stdoutp ___tolower ___toupper ___ulock_wait
  ___ulock_wake __availability_version_check __dispatch_main_q __dispatch_source_type_timer
  __dyld_image_count __exit __os_log_impl __tlv_atexit __tlv_bootstrap _abort _access
  _aligned_alloc _arc4random _arc4random_buf _atexit _bsearch _bzero _calloc _clock_gettime
  _clock_gettime_nsec_np _close _cosf _dispatch_after _dispatch_async _dispatch_async_f
  _dispatch_get_global_queue _dispatch_queue_create _dispatch_release _dispatch_resume
  _dispatch_retain _dispatch_semaphore_create _dispatch_semaphore_signal
  _dispatch_semaphore_wait _dispatch_source_cancel _dispatch_source_create
  _dispatch_source_set_event_handler _dispatch_source_set_timer _dispatch_sync _dispatch_time
  _dispatch_walltime _dladdr _dlclose _dlerror _dlopen _dlsym _erf _erff _exit _exp _expf
  _expm1f _fclose _fflush _floorf _fmaf _fmodf _fopen _fprintf _fputc _fputs _fread _free _fseek
  _fstat _fstat$INODE64 _ftell _ftruncate _fwrite _getentropy _getenv _getpagesize _getpid _gettimeofday
  _host_statistics64 _isatty _ldexpf _log _log1p _log1pf _logf _lseek _lstat _mach_absolute_time _mach_port_deallocate
  _mach_approximate_time _mach_continuous_time _mach_host_self _mach_task_self_
  _mach_timebase_info _madvise _malloc _memchr _memcmp _memcpy _memmove _memset
  _memset_pattern16 _memset_pattern4 _memset_pattern8 _mlock _mmap _mprotect _msync _munmap
  _nanf _nanosleep _open _os_unfair_lock_lock _os_unfair_lock_unlock _posix_memalign _pow _powf
  _pread _printf _pthread_attr_destroy _pthread_attr_init _pthread_attr_setstacksize
  _pthread_cond_broadcast _pthread_cond_destroy _pthread_cond_init _pthread_cond_signal
  _pthread_cond_timedwait _pthread_cond_timedwait_relative_np _pthread_cond_wait _pthread_create
  _pthread_detach _pthread_equal _pthread_getspecific _pthread_join _pthread_key_create
  _pthread_key_delete _pthread_mach_thread_np _pthread_mutex_destroy _pthread_mutex_init
  _pthread_mutex_lock _pthread_mutex_trylock _pthread_mutex_unlock _pthread_mutexattr_destroy
  _pthread_mutexattr_init _pthread_mutexattr_settype _pthread_once _pthread_rwlock_destroy
  _pthread_rwlock_rdlock _pthread_rwlock_unlock _pthread_rwlock_wrlock _pthread_self
  _pthread_setname_np _pthread_setspecific _qsort _qsort_r _read _realloc _roundf _sched_yield _setenv
  _sinf _snprintf _stat _strchr _strcmp _strcpy _strdup _strerror _strerror_r _strlen _strncmp
  _strncpy _strtod _strtof _strtol _strtoul _strtoull _sysconf _sysctlbyname _tanh _tanhf
  _task_info _time _unsetenv _usleep _vfprintf _vsnprintf _wmemchr _write
`
    .trim()
    .split(/\s+/),
)

/** Names that macOS 15 added: bound weakly, and null before. */
export const SINCE_MACOS_15 = ['_OBJC_CLASS_$_MTLResidencySetDescriptor']
