# SPDX-License-Identifier: Apache-2.0
"""Draws with OpenGL ES 3 and without a window, and prints a checksum of each frame.

    gl_scene.py FRAMES SIZE

Needs libEGL and libGLESv2 only; which driver draws is for Mesa's environment variables to say. Each frame
is a pure function of its number: a spinning fan of triangles with vertices that are written anew, a texture
whose texels change, a pass that blurs the first one's image, and pixels that are read through a buffer.
"""

import ctypes
import hashlib
import math
import sys
from ctypes import byref, c_char_p, c_float, c_int, c_uint, c_void_p

egl, gl = ctypes.CDLL("libEGL.so.1"), ctypes.CDLL("libGLESv2.so.2")
for function in (egl.eglGetPlatformDisplay, egl.eglCreateContext, gl.glMapBufferRange):
    function.restype = c_void_p
gl.glGetString.restype = c_char_p

SURFACELESS, NONE, OPENGL_ES = 0x31DD, 0x3038, 0x30A0
FRAGMENT, VERTEX = 0x8B30, 0x8B31
ARRAY, PIXEL_PACK, UNIFORM = 0x8892, 0x88EB, 0x8A11
TEXTURE_2D, RGBA, BYTES, FLOAT, RGBA8 = 0x0DE1, 0x1908, 0x1401, 0x1406, 0x8058
FRAMEBUFFER, COLOR0, RENDERBUFFER = 0x8D40, 0x8CE0, 0x8D41
BLADES, TEXELS = 64, 64

HEAD = "#version 300 es\nprecision highp float;\n"
DRAW_VERTEX = HEAD + """in vec4 place; out vec2 at; layout(std140) uniform Frame { vec4 turn; };
void main() { at = place.zw; vec2 p = place.xy;
  gl_Position = vec4(p.x * turn.x - p.y * turn.y, p.x * turn.y + p.y * turn.x, 0.0, 1.0); }"""
DRAW_FRAGMENT = HEAD + """in vec2 at; out vec4 color; uniform sampler2D cloth;
void main() { color = texture(cloth, at); }"""
BLUR_VERTEX = HEAD + """void main() { vec2 p = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  gl_Position = vec4(p * 4.0 - 1.0, 0.0, 1.0); }"""
BLUR_FRAGMENT = HEAD + """out vec4 color; uniform sampler2D cloth;
void main() { ivec2 p = ivec2(gl_FragCoord.xy); vec4 sum = vec4(0.0);
  for (int y = 0; y < 2; ++y) for (int x = 0; x < 2; ++x)
    sum += texelFetch(cloth, (p + ivec2(x, y)) % textureSize(cloth, 0), 0);
  color = sum * 0.25; }"""


def check(condition: object, what: str) -> None:
    if not condition:
        sys.exit(f"gl_scene: {what} failed, with the GL error {gl.glGetError():#x}")


def open_context() -> None:
    display = c_void_p(egl.eglGetPlatformDisplay(SURFACELESS, None, None))
    check(egl.eglInitialize(display, None, None), "eglInitialize")
    check(egl.eglBindAPI(OPENGL_ES), "eglBindAPI")
    wanted = (c_int * 3)(0x3098, 3, NONE)  # EGL_CONTEXT_MAJOR_VERSION
    context = c_void_p(egl.eglCreateContext(display, None, None, wanted))
    check(context, "eglCreateContext")
    check(egl.eglMakeCurrent(display, None, None, context), "eglMakeCurrent")


def make_program(vertex: str, fragment: str) -> int:
    program = gl.glCreateProgram()
    for kind, text in ((VERTEX, vertex), (FRAGMENT, fragment)):
        shader = gl.glCreateShader(kind)
        gl.glShaderSource(shader, 1, byref(c_char_p(text.encode())), None)
        gl.glCompileShader(shader)
        gl.glAttachShader(program, shader)
    gl.glBindAttribLocation(program, 0, b"place")
    gl.glLinkProgram(program)
    done = c_int()
    gl.glGetProgramiv(program, 0x8B82, byref(done))
    check(done.value, "linking a program")
    return program


def make_one(generate) -> int:
    name = c_uint()
    generate(1, byref(name))
    return name.value


def make_texture(size: int) -> int:
    texture = make_one(gl.glGenTextures)
    gl.glBindTexture(TEXTURE_2D, texture)
    gl.glTexStorage2D(TEXTURE_2D, 1, RGBA8, size, size)
    for parameter in (0x2800, 0x2801):  # GL_TEXTURE_MAG_FILTER, MIN: nearest
        gl.glTexParameteri(TEXTURE_2D, parameter, 0x2600)
    return texture


def make_target(texture: int) -> int:
    target = make_one(gl.glGenFramebuffers)
    gl.glBindFramebuffer(FRAMEBUFFER, target)
    gl.glFramebufferTexture2D(FRAMEBUFFER, COLOR0, TEXTURE_2D, texture, 0)
    check(gl.glCheckFramebufferStatus(FRAMEBUFFER) == 0x8CD5, "a framebuffer")
    return target


def vertices(frame: int):
    numbers = []
    for blade in range(BLADES):
        for corner in (0.0, 0.3, 0.7):
            angle = 2 * math.pi * (blade + corner) / BLADES
            far = 0.0 if corner == 0.0 else 0.5 + 0.4 * ((blade * 7 + frame * 3) % 16) / 16
            numbers += [far * math.cos(angle), far * math.sin(angle), (blade % 8 + corner) / 8, far]
    return (c_float * len(numbers))(*numbers)


def main() -> None:
    frames, size = int(sys.argv[1]), int(sys.argv[2])
    open_context()
    print(gl.glGetString(0x1F01).decode(), "/", gl.glGetString(0x1F02).decode())
    draw = make_program(DRAW_VERTEX, DRAW_FRAGMENT)
    blur = make_program(BLUR_VERTEX, BLUR_FRAGMENT)
    cloth, first, second = make_texture(TEXELS), make_texture(size), make_texture(size)
    targets = [make_target(first), make_target(second)]
    blades, turn, pixels = (make_one(gl.glGenBuffers) for _ in range(3))
    gl.glBindBuffer(PIXEL_PACK, pixels)
    gl.glBufferData(PIXEL_PACK, c_void_p(size * size * 4), None, 0x88E9)
    gl.glBindBufferBase(UNIFORM, 0, turn)
    gl.glViewport(0, 0, size, size)
    for frame in range(frames):
        texels = bytes((x * y + frame * 5 + channel * 50) % 256
                       for y in range(TEXELS) for x in range(TEXELS) for channel in range(4))
        gl.glBindTexture(TEXTURE_2D, cloth)
        gl.glTexSubImage2D(TEXTURE_2D, 0, 0, 0, TEXELS, TEXELS, RGBA, BYTES, texels)
        shape = vertices(frame)
        gl.glBindBuffer(ARRAY, blades)
        gl.glBufferData(ARRAY, c_void_p(ctypes.sizeof(shape)), shape, 0x88E0)
        gl.glEnableVertexAttribArray(0)
        gl.glVertexAttribPointer(0, 4, FLOAT, 0, 0, None)
        angle = frame / 10
        gl.glBufferData(UNIFORM, c_void_p(16), (c_float * 4)(math.cos(angle), math.sin(angle)), 0x88E0)
        gl.glBindFramebuffer(FRAMEBUFFER, targets[0])
        gl.glClearColor(c_float(0.25), c_float(0.5), c_float(frame % 8 / 8), c_float(1.0))
        gl.glClear(0x4000)
        gl.glUseProgram(draw)
        gl.glDrawArrays(4, 0, 3 * BLADES)
        gl.glBindFramebuffer(FRAMEBUFFER, targets[1])
        gl.glBindTexture(TEXTURE_2D, first)
        gl.glUseProgram(blur)
        gl.glDisableVertexAttribArray(0)
        gl.glDrawArrays(4, 0, 3)
        gl.glReadPixels(0, 0, size, size, RGBA, BYTES, None)
        seen = gl.glMapBufferRange(PIXEL_PACK, c_void_p(0), c_void_p(size * size * 4), 1)
        check(seen, "glMapBufferRange")
        print(frame, hashlib.sha256(ctypes.string_at(seen, size * size * 4)).hexdigest())
        gl.glUnmapBuffer(PIXEL_PACK)
    check(gl.glGetError() == 0, "something")


main()
