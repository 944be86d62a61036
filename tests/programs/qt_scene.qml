// SPDX-License-Identifier: Apache-2.0
// A hundred steps of a scene with what Qt Quick draws in different ways, one more, and then it stands still.
// Text is drawn by its outlines' pixels: Qt's other way depends on when it first needs a letter.
import QtQuick
import QtQuick.Window

Window {
    id: window
    property int step: 0
    visible: true
    width: 640
    height: 480
    color: "#204060"

    Timer {
        interval: 10
        repeat: true
        running: window.step < 100
        onTriggered: window.step += 1
    }

    // The last step comes when all frames before it have been shown.
    Timer {
        interval: 500
        running: window.step === 100
        onTriggered: window.step = 110
    }

    Repeater {
        model: 24
        Rectangle {
            required property int index
            x: 40 + (index % 6) * 95
            y: 40 + Math.floor(index / 6) * 100
            width: 60 + (window.step + index * 7) % 30
            height: 60
            radius: index
            rotation: window.step * 3 + index * 15
            opacity: 0.4 + 0.6 * index / 24
            antialiasing: true
            gradient: Gradient {
                GradientStop { position: 0; color: Qt.hsla(parent.index / 24, 0.8, 0.5, 1) }
                GradientStop { position: 1; color: "white" }
            }
        }
    }

    Item {
        x: 200
        y: 150
        width: 240
        height: 160
        clip: true
        opacity: 0.8
        layer.enabled: true
        layer.smooth: true
        rotation: window.step
        Rectangle { anchors.fill: parent; color: "#803010" }
        Text {
            anchors.centerIn: parent
            text: "step " + window.step
            color: "white"
            font.pixelSize: 48
            font.family: "DejaVu Sans"
            renderType: Text.NativeRendering
        }
    }
}
