#pragma once

// Which sanitizer the tests are built for. g++ and clang++ tell it in ways of their own, and this
// is the one place that knows both.
#ifdef __has_feature
#define NBDSTACK_BUILT_WITH(sanitizer) __has_feature(sanitizer)
#else
#define NBDSTACK_BUILT_WITH(sanitizer) 0
#endif

namespace nbdstack::testing {

#if defined(__SANITIZE_THREAD__) || NBDSTACK_BUILT_WITH(thread_sanitizer)
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif

// A sanitizer makes everything several times as slow: tests that try thousands of histories try
// fewer of them then.
#if defined(__SANITIZE_ADDRESS__) || NBDSTACK_BUILT_WITH(address_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = kThreadSanitizer;
#endif

}  // namespace nbdstack::testing

#undef NBDSTACK_BUILT_WITH
