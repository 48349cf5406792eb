// swift-tools-version: 6.2
import PackageDescription

/// One strict set of settings for every target.
let strict: [SwiftSetting] = [
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let package = Package(
  name: "mid",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "MidCore", targets: ["MidCore"]),
    .library(name: "MidOpaque", targets: ["MidOpaque"]),
    .executable(name: "mid", targets: ["mid"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
    .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: []),
    .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.7.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0", traits: []),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.8.0"),
  ],
  targets: [
    // The core: the standard library and Synchronization, nothing else.
    .target(name: "MidCore", swiftSettings: strict),
    // The gRPC lane: knows nothing of ids.
    .target(
      name: "MidRPC",
      dependencies: [
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOHPACK", package: "swift-nio-http2"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "NIOTLS", package: "swift-nio"),
      ],
      swiftSettings: strict
    ),
    // Stores, each a target because it drags in a library of its own.
    .target(
      name: "MidSQLite",
      dependencies: ["MidCore", .product(name: "GRDB", package: "GRDB.swift")],
      swiftSettings: strict
    ),
    .systemLibrary(name: "CMariaDB", pkgConfig: "libmariadb", providers: [.apt(["libmariadb-dev"])]),
    .target(name: "MidMySQL", dependencies: ["MidCore", "CMariaDB"], swiftSettings: strict),
    // adjtimex, which Swift's own module of the C library leaves out.
    .systemLibrary(name: "CClock"),
    .systemLibrary(name: "CMemory"),
    // Opaque ids: AES by the system's OpenSSL, which MariaDB's client library has brought along already.
    .systemLibrary(
      name: "CCipher", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"]), .brew(["openssl@3"])]),
    .target(name: "MidOpaque", dependencies: ["CCipher", "MidCore"], swiftSettings: strict),
    // The server, which takes its stores by protocol.
    .target(
      name: "MidServer",
      dependencies: [
        "CClock", "CMemory", "MidCore", "MidOpaque", "MidRPC",
        .product(name: "Configuration", package: "swift-configuration"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "Metrics", package: "swift-metrics"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
        .product(name: "Yams", package: "Yams"),
      ],
      swiftSettings: strict
    ),
    // The command: the only target that sees every backend.
    .executableTarget(
      name: "mid",
      dependencies: [
        "MidCore", "MidOpaque", "MidRPC", "MidServer", "MidSQLite", "MidMySQL",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Histogram", package: "hdrhistogram-swift"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "Metrics", package: "swift-metrics"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHPACK", package: "swift-nio-http2"),
        .product(name: "NIOHTTP2", package: "swift-nio-http2"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "NIOTLS", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict
    ),
    // Manual clock, faulty store, store contract, uniqueness checker. Never shipped in mid.
    .target(name: "MidTestKit", dependencies: ["MidCore"], swiftSettings: strict),
    .testTarget(name: "MidCoreTests", dependencies: ["MidCore", "MidTestKit"], swiftSettings: strict),
    .testTarget(
      name: "MidRPCTests",
      dependencies: [
        "MidRPC", "MidTestKit",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOEmbedded", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOHPACK", package: "swift-nio-http2"),
        .product(name: "NIOHTTP2", package: "swift-nio-http2"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "NIOTLS", package: "swift-nio"),
      ],
      swiftSettings: strict
    ),
    // The fuzz targets, tried on the corpus and on inputs that broke something once. Fuzzing/ builds them for libFuzzer.
    .testTarget(
      name: "MidFuzzTests",
      dependencies: [
        "MidRPC", "MidServer",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHPACK", package: "swift-nio-http2"),
      ],
      swiftSettings: strict
    ),
    .testTarget(name: "MidOpaqueTests", dependencies: ["MidOpaque", "MidTestKit"], swiftSettings: strict),
    .testTarget(name: "MidSQLiteTests", dependencies: ["MidSQLite", "MidTestKit"], swiftSettings: strict),
    .testTarget(name: "MidMySQLTests", dependencies: ["MidMySQL", "MidTestKit"], swiftSettings: strict),
    .testTarget(
      name: "MidServerTests",
      dependencies: [
        "MidCore", "MidRPC", "MidServer", "MidTestKit",
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "Metrics", package: "swift-metrics"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOEmbedded", package: "swift-nio"),
        .product(name: "NIOHPACK", package: "swift-nio-http2"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "ServiceLifecycleTestKit", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict
    ),
    .testTarget(
      name: "MidTests",
      dependencies: [
        "mid", "MidCore", "MidRPC", "MidServer", "MidTestKit",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOEmbedded", package: "swift-nio"),
        .product(name: "NIOHPACK", package: "swift-nio-http2"),
        .product(name: "NIOHTTP2", package: "swift-nio-http2"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "NIOTLS", package: "swift-nio"),
      ],
      swiftSettings: strict
    ),
  ]
)
